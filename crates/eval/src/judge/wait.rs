//! How long a server asks to wait, in the forms that servers use.

use std::time::{Duration, SystemTime};

use ureq::http::HeaderMap;

/// What `Retry-After` (seconds or a date), `retry-after-ms` or, in a 429, the reset of a rate limit asks for.
pub(super) fn asked(headers: &HeaderMap, status: u16) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().and_then(|n| Duration::try_from_secs_f64(n).ok());
    if let Some(wait) = text("retry-after-ms").and_then(|ms| Duration::try_from_secs_f64(ms.parse::<f64>().ok()? / 1000.0).ok()) {
        return Some(wait);
    }
    if let Some(after) = text("retry-after") {
        let now = text("date").and_then(unix_seconds).or_else(|| {
            let since = SystemTime::UNIX_EPOCH.elapsed().ok()?;
            i64::try_from(since.as_secs()).ok()
        });
        let until = || unix_seconds(after).zip(now).map(|(then, now)| Duration::from_secs(u64::try_from(then - now).unwrap_or(0)));
        return number(after).or_else(until);
    }
    let resets = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"].iter().filter_map(|name| units(text(name)?));
    resets.max().filter(|_| status == 429)
}

/// `6m0s`, `1h2m`, `20ms`.
fn units(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| number + at);
        let seconds = match &rest[number..unit] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(rest[..number].parse::<f64>().ok()? * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970 (RFC 9110, 5.6.7).
fn unix_seconds(date: &str) -> Option<i64> {
    let parts: Vec<&str> = date.split([' ', ',']).filter(|part| !part.is_empty()).collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year) = (day.parse::<i64>().ok()?, year.parse::<i64>().ok()?);
    let clock: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    let sound = (1..=31).contains(&day) && (1970..10000).contains(&year);
    let sound = sound && (0..24).contains(&hours) && (0..60).contains(&minutes) && (0..=60).contains(&seconds);
    // Days of the proleptic calendar, years beginning in March.
    let (y, m) = (year - i64::from(month <= 2), (month + 9) % 12);
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    sound.then_some(days * 86400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(status: u16, headers: &[(&'static str, &'static str)]) -> Option<f64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, ureq::http::HeaderValue::from_static(value));
        }
        asked(&map, status).map(|wait| (wait.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    #[test]
    fn every_form_of_a_wait() {
        for (headers, expected) in [
            (vec![("retry-after", "7")], Some(7.0)),
            (vec![("retry-after", " 1.5 ")], Some(1.5)),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "NaN")], None),
            (vec![("retry-after", "1e300")], None),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after-ms", "250"), ("retry-after", "7")], Some(0.25)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(3.0)),
            // It is over.
            (vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(0.0)),
            (vec![("retry-after", "Sun, 06 Foo 1994 08:49:37 GMT")], None),
            (vec![("x-ratelimit-reset-requests", "20ms"), ("x-ratelimit-reset-tokens", "6m0s")], Some(360.0)),
            (vec![("x-ratelimit-reset-tokens", "1.5s")], Some(1.5)),
            (vec![("x-ratelimit-reset-tokens", "1767225600")], None),
            (vec![], None),
        ] {
            assert_eq!(wait(429, &headers), expected, "{headers:?}");
        }
        assert_eq!(wait(500, &[("x-ratelimit-reset-requests", "9s")]), None);
        assert_eq!(unix_seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(unix_seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(unix_seconds("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
    }
}
