//! HotpotQA and RACE as Parquet, written here with the nesting that the hub's files have.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::{load_hotpotqa, load_race};

const HOTPOT: &str = "message schema {
    OPTIONAL BYTE_ARRAY id (STRING); OPTIONAL BYTE_ARRAY question (STRING); OPTIONAL BYTE_ARRAY answer (STRING); OPTIONAL BYTE_ARRAY level (STRING);
    OPTIONAL GROUP supporting_facts {
        OPTIONAL GROUP title (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (STRING); } }
        OPTIONAL GROUP sent_id (LIST) { REPEATED GROUP list { OPTIONAL INT32 element; } } }
    OPTIONAL GROUP context {
        OPTIONAL GROUP title (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (STRING); } }
        OPTIONAL GROUP sentences (LIST) { REPEATED GROUP list { OPTIONAL GROUP element (LIST) {
            REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (STRING); } } } } } }";

const RACE: &str = "message schema { OPTIONAL BYTE_ARRAY example_id (STRING); OPTIONAL BYTE_ARRAY article (STRING); OPTIONAL BYTE_ARRAY answer (STRING);
    OPTIONAL BYTE_ARRAY question (STRING); OPTIONAL GROUP options (LIST) { REPEATED GROUP list { OPTIONAL BYTE_ARRAY element (STRING); } } }";

type Group<'a> = SerializedRowGroupWriter<'a, std::fs::File>;

/// The next column: values with their definition and repetition levels.
fn texts(group: &mut Group<'_>, values: &[&str], definition: i16, repetition: &[i16]) {
    let mut column = group.next_column().expect("a column").expect("one column more");
    let values: Vec<ByteArray> = values.iter().map(|value| ByteArray::from(*value)).collect();
    let definition = vec![definition; values.len()];
    column.typed::<ByteArrayType>().write_batch(&values, Some(&definition), Some(repetition)).expect("written values");
    column.close().expect("a closed column");
}

fn write(path: &Path, schema: &str, compression: Compression, fill: impl FnOnce(&mut Group<'_>)) {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    fill(&mut group);
    group.close().expect("a closed group");
    writer.close().expect("a closed file");
}

#[test]
fn hotpotqa_as_parquet() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("validation-00000-of-00001.parquet");
    write(&path, HOTPOT, Compression::SNAPPY, |group| {
        for values in [["a1", "b2"], ["Q1", "Q2"], ["A1", "A2"], ["easy", "hard"]] {
            texts(group, &values, 1, &[0, 0]);
        }
        texts(group, &["Two", "One", "One"], 4, &[0, 1, 0]);
        let mut column = group.next_column().expect("a column").expect("one column more");
        column.typed::<Int32Type>().write_batch(&[1, 0, 7], Some(&[4, 4, 4]), Some(&[0, 1, 0])).expect("written values");
        column.close().expect("a closed column");
        texts(group, &["One", "Two", "One"], 4, &[0, 1, 0]);
        texts(group, &["First.", " Second.", "Third.", " Fourth.", "Fifth."], 6, &[0, 2, 1, 2, 0]);
    });
    let items = load_hotpotqa(&path).expect("a loaded file");
    assert_eq!((items.len(), items[0].id.as_str(), items[1].level.as_str()), (2, "a1", "hard"));
    assert_eq!(items[0].paragraphs[0].sentences, ["First.", " Second."]);
    assert_eq!(items[0].support(), ["Fourth.", "First."]);
    assert_eq!((items[1].support().len(), &items[1].lost_facts[..]), (0, &["One #7".to_string()][..]));
    // The folder of its parts is the file, unless it holds parts of another split.
    assert_eq!(files_of(dir.path(), None).expect("files"), std::slice::from_ref(&path));
    std::fs::copy(&path, dir.path().join("train-00000-of-00001.parquet")).expect("a copy");
    assert!(files_of(dir.path(), None).expect_err("a failure").to_string().contains("parts of several splits"));
    assert_eq!(files_of(dir.path(), Some(Split::Valid)).expect("files"), std::slice::from_ref(&path));

    let error = load_race(&path, Split::Test).expect_err("a failure").to_string();
    assert!(error.contains("is not RACE - it looks like HotpotQA"), "{error}");
    let bytes = std::fs::read(&path).expect("a file");
    std::fs::write(&path, &bytes[..bytes.len() - 9]).expect("a written file");
    assert!(matches!(load_hotpotqa(&path), Err(DataError::Parquet { .. })));
}

#[test]
fn race_as_parquet_in_every_compression() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("test-00000-of-00001.parquet");
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(Default::default()),
        Compression::ZSTD(Default::default()),
    ] {
        write(&path, RACE, compression, |group| {
            for values in [["high1.txt", "high1.txt"], ["One.", "One."], ["A", "B"], ["q", "r"]] {
                texts(group, &values, 1, &[0, 0]);
            }
            texts(group, &["w", "x", "y", "z"], 3, &[0, 1, 0, 1]);
        });
        let race = load_race(dir.path(), Split::Test).expect("a loaded folder");
        assert_eq!((&race.passages[..], race.records, race.repeated), (&["One.".to_string()][..], 2, 1), "{compression}");
    }
}

#[test]
fn a_byte_order_mark_is_skipped_and_rubbish_after_an_array_is_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("rows.json");
    let count = |text: &str| {
        std::fs::write(&path, text).expect("a written file");
        each_row(&path, DatasetName::Squad, &mut |_, _| Ok(()))
    };
    assert_eq!(count("\u{feff} [{}, {}]\n").expect("rows"), 2);
    assert_eq!(count("{}\n{}\n\n{}").expect("rows"), 3);
    assert_eq!(count(&format!("{}[{{}}, {{}}]", "\n".repeat(1000))).expect("rows"), 2);
    assert_eq!(count("\u{feff}{}\r\n{}").expect("rows"), 2);
    assert!(matches!(count("[{}] x"), Err(DataError::Json { .. })));
    assert!(matches!(count("[{}, {}"), Err(DataError::Json { .. })));
    assert!(count("{}\n\n3").expect_err("a failure").to_string().ends_with("expected an object (line 3)"));
    let units: Vec<u8> = "\u{feff}[{}, {}]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, units).expect("a written file");
    assert_eq!(each_row(&path, DatasetName::Squad, &mut |_, _| Ok(())).expect("rows"), 2);
    assert!(count("[{}, 3]").expect_err("a failure").to_string().starts_with("record 1 of "));
    assert!(matches!(count("[]"), Err(DataError::Empty { .. })));
}
