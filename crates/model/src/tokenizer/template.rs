//! The engine that renders chat templates: Jinja2 with what transformers adds to it.
//!
//! Beside the filter `tojson`, the functions `raise_exception` and `strftime_now`, and loop controls, transformers knows a
//! block `{% generation %}`, which marks what an assistant says. It renders as it is, with a scope of its own.

use std::fmt::Write as _;
use std::io::Write;

use chrono::Local;
use chrono::format::{Item, StrftimeItems};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::{globals, pycompat};
use serde::Serialize;
use serde_json::ser::Formatter;

/// Instructions that a template may take, each worth 64 bytes of text; Qwen3's takes about a hundred a message.
const FUEL: u64 = 1_000_000;

/// Renders a template with what it may use.
///
/// # Reference
/// transformers 5.23, `_compile_jinja_template`.
pub(super) fn render(template: &str, context: Value) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(method);
    // A template comes with a checkpoint: one that never ends, or eats the memory, is refused.
    environment.set_fuel(Some(FUEL));
    environment.set_formatter(printed);
    environment.add_filter("tojson", tojson);
    environment.add_function("raise_exception", raise);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("cycler", |items: Rest<Value>| globals::cycler(items.to_vec()));
    environment.add_function("joiner", globals::joiner);
    environment.render_str(&known_blocks(template)?, context)
}

/// A template with plain blocks in the place of `generation`, and with Unix line ends, as Jinja2 reads any.
fn known_blocks(template: &str) -> Result<String, Error> {
    let text = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('{') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let len = match tag.as_bytes().get(1) {
            Some(b'#') => tag.find("#}").map_or(tag.len(), |end| end + 2),
            Some(b'{') => end_of(tag, "}}"),
            Some(b'%') => end_of(tag, "%}"),
            _ => 1,
        };
        let (tag, after) = tag.split_at(len);
        rest = after;
        let name = if tag.starts_with("{%") { block_name(tag) } else { "" };
        match name {
            "generation" => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => out.push_str(tag),
        }
        if name == "raw" {
            let end = end_of_raw(rest).ok_or_else(|| Error::new(ErrorKind::SyntaxError, "`raw` without `endraw`"))?;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The first word of a block.
fn block_name(tag: &str) -> &str {
    let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
    &inner[..inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len())]
}

/// The length of a tag, whose strings may hold its end.
fn end_of(tag: &str, end: &str) -> usize {
    let (mut quote, mut at) = (None, 2);
    let bytes = tag.as_bytes();
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) if bytes[at..].starts_with(end.as_bytes()) => return at + end.len(),
            _ => {}
        }
        at += 1;
    }
    tag.len()
}

/// Where the tag that ends a raw block begins.
fn end_of_raw(text: &str) -> Option<usize> {
    text.match_indices("{%").map(|(at, _)| at).find(|at| block_name(&text[*at..]) == "endraw")
}

fn raise(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// The local time, as Python's `datetime.now().strftime(format)`.
fn strftime_now(format: &str) -> Result<String, Error> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {format:?} is no format of a time")));
    }
    let mut text = String::new();
    write!(text, "{}", Local::now().format_with_items(items.iter()))
        .map_err(|_| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {format:?} asks for what a time has not")))?;
    Ok(text)
}

/// Methods of Python's strings that the engine's own list lacks, then that list.
fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else { return pycompat::unknown_method_callback(state, value, name, args) };
    let list = |parts: &[&str]| parts.iter().map(|part| Value::from(*part)).collect::<Value>();
    let halves = |found: Option<(&str, &str)>, separator: &str, last: bool| match (found, last) {
        (Some((before, after)), _) => list(&[before, separator, after]),
        (None, false) => list(&[text, "", ""]),
        (None, true) => list(&["", "", text]),
    };
    match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            Ok(halves(text.split_once(separator), separator, false))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            Ok(halves(text.rsplit_once(separator), separator, true))
        }
        "rsplit" => {
            let (separator, most): (&str, Option<usize>) = from_args(args)?;
            let mut parts: Vec<&str> = match most {
                Some(most) => text.rsplitn(most + 1, separator).collect(),
                None => text.rsplit(separator).collect(),
            };
            parts.reverse();
            Ok(list(&parts))
        }
        "index" => {
            let (what,): (&str,) = from_args(args)?;
            let found = text.find(what).map(|at| text[..at].chars().count());
            found.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))
        }
        "casefold" => Ok(text.to_lowercase().into()),
        "swapcase" => Ok(text.chars().map(swapped).collect::<String>().into()),
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let missing = width.min(1 << 16).saturating_sub(text.chars().count());
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            Ok(format!("{sign}{}{digits}", "0".repeat(missing)).into())
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn swapped(c: char) -> String {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// The `tojson` of transformers: `json.dumps(value, ensure_ascii, indent, separators, sort_keys)`, nothing escaped by default.
fn tojson(value: &Value, positional: Option<bool>, options: Kwargs) -> Result<String, Error> {
    let failed = |e: String| Error::new(ErrorKind::BadSerialization, e);
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.or(positional).unwrap_or(false);
    let separators: Option<(String, String)> = match options.get::<Option<Value>>("separators")?.filter(|v| !v.is_none()) {
        Some(pair) => Some((pair.get_item_by_index(0)?.to_string(), pair.get_item_by_index(1)?.to_string())),
        None => None,
    };
    let indent: Option<Value> = options.get::<Option<Value>>("indent")?.filter(|v| !v.is_none());
    let indent = indent.map(|indent| match (indent.as_str(), indent.as_usize()) {
        (Some(text), _) => Ok(text.to_string()),
        (None, Some(spaces)) if spaces <= 64 => Ok(" ".repeat(spaces)),
        _ => Err(failed(format!("tojson: indent {indent}, expected up to 64 spaces"))),
    });
    let indent = indent.transpose()?;
    let usual = (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string());
    let (comma, colon) = separators.unwrap_or(usual);
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let value = if sorted { sorted_keys(value)? } else { value.clone() };
    let mut text = Vec::new();
    let style = Python { comma, colon, indent, depth: 0, empty: true };
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, style)).map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8(text).map_err(|e| failed(e.to_string()))?;
    Ok(if ascii { escaped(&text) } else { text })
}

/// A number as Python's `repr` writes it.
fn python_float(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

/// What a template prints: as the engine writes it, but for numbers.
fn printed(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match f64::try_from(value.clone()) {
        Ok(number) if value.is_number() && !value.is_integer() => escape_formatter(out, state, &python_float(number).into()),
        _ => escape_formatter(out, state, value),
    }
}

/// A value whose maps have their keys in order.
fn sorted_keys(value: &Value) -> Result<Value, Error> {
    Ok(match value.kind() {
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            keys.sort();
            let pairs = keys.into_iter().map(|key| Ok((key.clone(), sorted_keys(&value.get_item(&key)?)?)));
            Value::from_pairs(pairs.collect::<Result<Vec<_>, Error>>()?)
        }
        ValueKind::Seq => Value::from(value.try_iter()?.map(|item| sorted_keys(&item)).collect::<Result<Vec<_>, Error>>()?),
        _ => value.clone(),
    })
}

/// JSON in ASCII, what is beyond it as escapes of UTF-16.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
        }
    }
    out
}

/// JSON as Python writes it: a space after every comma and colon, or lines with an indent.
struct Python {
    comma: String,
    colon: String,
    indent: Option<String>,
    depth: usize,
    /// Whether nothing has been written into the array or object that is open.
    empty: bool,
}

impl Python {
    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> std::io::Result<()> {
        match &self.indent {
            Some(indent) => write!(writer, "\n{}", indent.repeat(self.depth)),
            None => Ok(()),
        }
    }

    fn open<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> std::io::Result<()> {
        self.depth += 1;
        self.empty = true;
        writer.write_all(bracket)
    }

    fn next<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if !first {
            writer.write_all(self.comma.as_bytes())?;
        }
        self.empty = false;
        self.line(writer)
    }

    fn close<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> std::io::Result<()> {
        self.depth -= 1;
        if !self.empty {
            self.line(writer)?;
        }
        self.empty = false;
        writer.write_all(bracket)
    }
}

impl Formatter for Python {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.open(writer, b"[")
    }
    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.close(writer, b"]")
    }
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        self.next(writer, first)
    }
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.open(writer, b"{")
    }
    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.close(writer, b"}")
    }
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        self.next(writer, first)
    }
    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(self.colon.as_bytes())
    }
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        writer.write_all(python_float(value).as_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn only_blocks_are_replaced() {
        let text =
            "{# {% generation %} #}{{ '{% generation %}' }}{%- generation -%}{% raw %}{% generation %}{% endraw %}{%+ endgeneration %}{ {%";
        let expected = "{# {% generation %} #}{{ '{% generation %}' }}{%- with -%}{% raw %}{% generation %}{% endraw %}{%+ endwith %}{ {%";
        assert_eq!(known_blocks(text).unwrap(), expected);
        assert!(known_blocks("{% raw %}{% generation %}").is_err());
    }

    #[test]
    fn a_time_is_that_of_now_and_a_wrong_format_an_error() {
        let year = render("{{ strftime_now('%Y') }}", context! {}).unwrap();
        assert!((2024..3000).contains(&year.parse::<u32>().unwrap()), "{year}");
        let now = render("{{ strftime_now('%d %B %Y, %H:%M:%S %% x') }}", context! {}).unwrap();
        assert!(now.contains(&format!(" {year}, ")) && now.ends_with(" % x"), "{now}");
        assert!(render("{{ strftime_now('%Q') }}", context! {}).is_err());
    }
}
