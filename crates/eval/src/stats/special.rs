//! The special functions under the tests: log-gamma, incomplete beta, normal tails.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Relative step at which a series or a continued fraction stops.
const STOP: f64 = 3e-16;
/// Stands in for a zero denominator in a continued fraction (Lentz).
const TINY: f64 = 1e-300;
/// Terms after which a series or a continued fraction gives what it has. They need about sqrt(a + b) terms, so this
/// is reached beyond 1e9 samples only.
const TERMS: usize = 100_000;

/// P(Z > x) of the standard normal, exact to about 1e-13 of its value in both tails.
pub(super) fn normal_sf(x: f64) -> f64 {
    0.5 * erfc(x * FRAC_1_SQRT_2)
}

/// P(Z <= x) of the standard normal.
pub(super) fn normal_cdf(x: f64) -> f64 {
    normal_sf(-x)
}

/// The x with P(Z <= x) = p, for 0 < p < 1.
pub(super) fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    // Start: Abramowitz and Stegun 26.2.23, off by at most 4.5e-4; each of Halley's steps triples the digits.
    let t = (-2.0 * p.ln()).sqrt();
    let mut x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
    for _ in 0..3 {
        let step = (normal_cdf(x) - p) * (2.0 * PI).sqrt() * (0.5 * x * x).exp();
        x -= step / (1.0 + 0.5 * x * step);
    }
    x
}

/// The two-sided tail of Student's t: P(|T| >= |t|) with `df` degrees of freedom.
///
/// I_x(df/2, 1/2) at x = df / (df + t^2)
pub(super) fn student_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    let square = t * t;
    incomplete_beta(0.5 * df, 0.5, df / (df + square), square / (df + square))
}

/// The t above 0 with P(|T| >= t) = p for Student's T with `df` degrees of freedom, 0 < p < 1.
pub(super) fn student_quantile(p: f64, df: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while student_two_sided(high, df) > p {
        high *= 2.0;
    }
    // The tail falls with t: halving ends where no number lies between.
    loop {
        let middle = 0.5 * (low + high);
        match () {
            () if middle <= low || middle >= high => return high,
            () if student_two_sided(middle, df) > p => low = middle,
            () => high = middle,
        }
    }
}

/// P(X <= k) of a binomial with `n` trials of probability 1/2, for k <= n.
pub(super) fn half_binomial_cdf(k: u64, n: u64) -> f64 {
    if k >= n {
        return 1.0;
    }
    incomplete_beta((n - k) as f64, (k + 1) as f64, 0.5, 0.5)
}

/// The regularised incomplete beta function I_x(a, b), `y` being 1 - x as exactly as the caller knows it.
///
/// Continued fraction of Didonato and Morris (1992) in Lentz's form, on the side of the mean where it converges fast.
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_below(b, a, y, x);
    }
    incomplete_beta_below(a, b, x, y)
}

/// x^a y^b / (a B(a, b)) times the continued fraction 1/(1+ d1/(1+ d2/(1+ ..))).
fn incomplete_beta_below(a: f64, b: f64, x: f64, y: f64) -> f64 {
    // Of two numbers that add up to 1, the smaller is known to more digits.
    let (ln_x, ln_y) = if x < y { (x.ln(), (-x).ln_1p()) } else { ((-y).ln_1p(), y.ln()) };
    let front = (a * ln_x + b * ln_y - ln_beta(a, b)).exp() / a;
    let (mut c, mut d) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < STOP {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

fn nonzero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

/// ln B(a, b). With a large argument the large parts of the log-gammas are cancelled before they are rounded.
fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if large < 10.0 {
        return ln_gamma(small) + ln_gamma(large) - ln_gamma(small + large);
    }
    let sum = small + large;
    let difference = stirling_rest(large) - stirling_rest(sum) - (large - 0.5) * (small / large).ln_1p();
    if small < 10.0 {
        return ln_gamma(small) + difference - small * sum.ln() + small;
    }
    stirling_rest(small) + difference + (small - 0.5) * (small / sum).ln() - 0.5 * sum.ln() + 0.5 * (2.0 * PI).ln()
}

/// ln Gamma(x) for x > 0.
pub(super) fn ln_gamma(x: f64) -> f64 {
    // Up to where Stirling's series is exact, by Gamma(x) = Gamma(x + 1) / x.
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * PI).ln() + stirling_rest(x) - f64::ln(product)
}

/// ln Gamma(x) - ((x - 1/2) ln x - x + ln(2 pi) / 2) for x >= 10: sum of B_2k / (2k (2k - 1) x^(2k - 1)).
fn stirling_rest(x: f64) -> f64 {
    let terms = [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0, -3617.0 / 122_400.0];
    terms.iter().rev().fold(0.0, |sum, term| sum / (x * x) + term) / x
}

/// The complementary error function.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        // 1 - erf(x), erf(x) = 2/sqrt(pi) exp(-x^2) sum_k 2^k x^(2k+1) / (1 * 3 .. (2k+1)): no term is negative.
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > STOP * sum {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return 1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum;
    }
    // exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ..)))), Lentz.
    let (mut c, mut d, mut fraction) = (x, 0.0, x);
    for k in 1..TERMS {
        let half = 0.5 * k as f64;
        d = 1.0 / (x + half * d);
        c = x + half / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < STOP {
            break;
        }
    }
    (-x * x).exp() / PI.sqrt() / fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-12 * expected.abs(), "{got:e}, expected {expected:e}");
    }

    #[test]
    fn log_gamma_of_known_arguments() {
        close(ln_gamma(0.5), PI.sqrt().ln());
        close(ln_gamma(5.0), 24f64.ln());
        close(ln_gamma(0.1), 9.513_507_698_668_732f64.ln());
        let factorial: f64 = (1..=100).map(|k| f64::from(k).ln()).sum();
        close(ln_gamma(101.0), factorial);
        assert!(ln_gamma(1.0).abs() < 1e-14 && ln_gamma(2.0).abs() < 1e-14);
    }

    #[test]
    fn log_beta_is_the_same_on_both_sides_of_its_branches() {
        for (a, b) in [(0.5, 9.99), (0.5, 10.01), (3.0, 400.0), (12.0, 11.0), (50.0, 0.5), (1000.0, 2000.0)] {
            let plain = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
            assert!((ln_beta(a, b) - plain).abs() < 1e-11 * plain.abs().max(1.0), "{a} {b}: {} {plain}", ln_beta(a, b));
        }
    }

    #[test]
    fn the_normal_has_both_tails() {
        close(normal_sf(0.0), 0.5);
        close(normal_sf(1.0), 0.158_655_253_931_457_05);
        close(normal_sf(5.0), 2.866_515_718_791_939e-7);
        close(normal_sf(20.0), 2.753_624_118_606_234e-89);
        close(normal_cdf(-5.0), normal_sf(5.0));
        // The two formulas of erfc meet.
        assert!((erfc(2.0 - 1e-15) / erfc(2.0) - 1.0).abs() < 1e-13);
        assert_eq!(normal_sf(60.0), 0.0);
    }

    #[test]
    fn quantiles_undo_the_cdf() {
        close(normal_quantile(0.975), 1.959_963_984_540_054);
        for p in [1e-300, 1e-10, 0.01, 0.3, 0.499, 0.7, 0.999] {
            close(normal_cdf(normal_quantile(p)), p);
        }
        assert!(normal_quantile(0.5).abs() < 1e-16);
    }

    #[test]
    fn incomplete_beta_where_it_has_a_closed_form() {
        // I_x(a, 1) = x^a, I_x(1, b) = 1 - (1 - x)^b, and Student's t with 1 and 2 degrees of freedom.
        close(incomplete_beta(3.5, 1.0, 0.2, 0.8), 0.2f64.powf(3.5));
        close(incomplete_beta(1.0, 4.0, 0.9, 0.1), 1.0 - 0.1f64.powi(4));
        close(student_two_sided(1.0, 1.0), 0.5);
        close(student_two_sided(2.0, 2.0), 1.0 - 2.0 / 6f64.sqrt());
        assert_eq!(student_two_sided(0.0, 7.0), 1.0);
        assert_eq!(student_two_sided(f64::INFINITY, 7.0), 0.0);
        // Many degrees of freedom: the normal, up to t^4 / df.
        assert!((student_two_sided(3.0, 1e8) / (2.0 * normal_sf(3.0)) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn binomial_tails() {
        close(half_binomial_cdf(0, 5), 1.0 / 32.0);
        close(half_binomial_cdf(1, 5), 6.0 / 32.0);
        close(half_binomial_cdf(2, 5), 0.5);
        assert_eq!(half_binomial_cdf(5, 5), 1.0);
        close(half_binomial_cdf(0, 1000), 0.5f64.powi(1000));
    }
}
