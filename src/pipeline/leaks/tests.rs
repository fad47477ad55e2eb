use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::super::unsearched::Bound;
use super::*;
use crate::layer::{Member, MemberKind, Witness};
use proptest::prelude::*;

const SECRET: &[u8] = b"hunter2:correct horse/battery?staple=100%&more";

fn leaks(secret: &[u8]) -> Leaks {
    Leaks::of(
        vec![("the secret `it`".into(), secret.to_vec())],
        Redactor::of([secret.to_vec()]),
    )
}

/// Finds it when fed in pieces of this size.
fn finds(leaks: &Leaks, text: &[u8], piece: usize) -> bool {
    let mut search = leaks.search().unwrap();
    for piece in text.chunks(piece) {
        search.content(piece);
    }
    search.end();
    search.verdict().is_err()
}

fn percent(secret: &[u8], lower: bool) -> Vec<u8> {
    let mut out = String::new();
    for byte in secret {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(*byte));
        } else if lower {
            write!(out, "%{byte:02x}").unwrap();
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
    }
    out.into_bytes()
}

fn wrapped(text: &str, width: usize, end: &str) -> Vec<u8> {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join(end).into_bytes()
}

/// All the ways in which it may stand in a file.
fn hidden(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = vec![
        secret.to_vec(),
        percent(secret, true),
        percent(secret, false),
        String::from_utf8_lossy(&percent(secret, false))
            .replace("%20", "+")
            .into_bytes(),
    ];
    for before in 0..4 {
        let mut bytes = vec![b'x'; before];
        bytes.extend_from_slice(secret);
        bytes.extend_from_slice(b"tail");
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            for (width, end) in [
                (4, "\n"),
                (19, "\r\n"),
                (76, "\n"),
                (20, "\\n"),
                (17, "'\n '"),
            ] {
                texts.push(wrapped(&text, width, end));
            }
            texts.push(text.into_bytes());
        }
    }
    texts
}

#[test]
fn a_secret_is_found_in_every_form_and_across_every_edge() {
    let leaks = leaks(SECRET);
    for text in hidden(SECRET) {
        let mut file = b"some text before it: ".to_vec();
        file.extend_from_slice(&text);
        file.extend_from_slice(b"\nand after it\n");
        for piece in [1, 2, 3, 7, 16, 31, 1 << 20] {
            assert!(
                finds(&leaks, &file, piece),
                "{} in pieces of {piece}",
                String::from_utf8_lossy(&file)
            );
        }
        // The twin: one byte of it is another.
        let middle = file.len() / 2;
        let mut twin = file.clone();
        twin[middle] = if twin[middle] == b'Q' { b'R' } else { b'Q' };
        assert!(
            !finds(&leaks, &twin, 16),
            "{}",
            String::from_utf8_lossy(&twin)
        );
    }
    assert!(!finds(&leaks, &SECRET[..SECRET.len() - 1], 16));
}

#[test]
fn lines_may_end_in_other_ways() {
    let key = b"-----BEGIN X-----\nabcdefgh\nijklmnop\n-----END X-----";
    let leaks = leaks(key);
    let text = std::str::from_utf8(key).unwrap();
    assert!(finds(&leaks, text.replace('\n', "\r\n").as_bytes(), 5));
    assert!(finds(&leaks, format!("{text:?}").as_bytes(), 5));
    assert!(finds(&leaks, text.replace('\n', "").as_bytes(), 5));
}

#[test]
fn eight_bytes_are_enough_and_seven_are_not() {
    let eight = leaks(b"8 bytes!");
    for text in hidden(b"8 bytes!") {
        assert!(
            finds(&eight, &text, 3),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
    assert!(leaks(b"7 bytes").search().is_none());
}

#[test]
fn two_files_are_two_and_names_count() {
    let leaks = leaks(SECRET);
    let mut search = leaks.search().unwrap();
    let half = SECRET.len() / 2;
    for part in [&SECRET[..half], &SECRET[half..]] {
        search.member(&member(b"a", MemberKind::File));
        search.content(part);
        search.end();
    }
    assert!(search.verdict().is_ok());
    let link = MemberKind::Symlink(OsStr::from_bytes(SECRET).into());
    search.member(&member(b"etc/link", link));
    let told = search.verdict().unwrap_err().to_string();
    assert!(
        told.contains("/etc/link") && !told.contains("hunter2"),
        "{told}"
    );

    let mut search = leaks.search().unwrap();
    let name = [b"etc/", SECRET].concat();
    search.member(&member(&name, MemberKind::File));
    let told = search.verdict().unwrap_err().to_string();
    assert!(
        told.contains("/etc/****") && !told.contains("hunter2"),
        "{told}"
    );
}

fn member(path: &[u8], kind: MemberKind) -> Member {
    Member {
        path: OsStr::from_bytes(path).into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        nanos: 0,
        size: 0,
        xattrs: std::collections::BTreeMap::new(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = ::zip::write::SimpleFileOptions::default();
    writer.start_file(name, options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    builder.append_data(&mut header, name, bytes).unwrap();
    builder.into_inner().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// What is told of a file of a layer.
fn told(leaks: &Leaks, name: &str, content: &[u8]) -> Option<String> {
    let mut search = leaks.search().unwrap();
    search.member(&member(name.as_bytes(), MemberKind::File));
    for piece in content.chunks(1000) {
        search.content(piece);
    }
    search.end();
    search.verdict().err().map(|error| error.to_string())
}

#[test]
fn files_in_files_are_searched() {
    let leaks = leaks(SECRET);
    // Compressed, it stands nowhere as it is.
    let words: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    let text = [words.join(" ").as_bytes(), SECRET, b"\nend"].concat();
    let twin = [words.join(" ").as_bytes(), &SECRET[1..], b"\nend"].concat();
    for (name, pack, place) in [
        (
            "a.gz",
            &(|text: &[u8]| gzip(text)) as &dyn Fn(&[u8]) -> Vec<u8>,
            "/a.gz (unpacked)",
        ),
        ("a", &|text| gzip(text), "/a (unpacked)"),
        (
            "a.whl",
            &|text| zip("in/key.txt", text),
            "/a.whl (in/key.txt)",
        ),
        (
            "run",
            &|text| [b"#!/usr/bin/env python\n", &zip("key", text)[..]].concat(),
            "/run (key)",
        ),
        (
            "a.tar.gz",
            &|text| gzip(&tar("in/key.gz", &gzip(text))),
            "/a.tar.gz (unpacked) (in/key.gz) (unpacked)",
        ),
        (
            "a.tar",
            &|text| tar("lib.zip", &zip("key", text)),
            "/a.tar (lib.zip) (key)",
        ),
        // A program that unpacks itself.
        (
            "setup",
            &|text| [b"\x7fELF\x02\x01 the program", &zip("key", text)[..]].concat(),
            "/setup (key)",
        ),
        (
            "picture.jpg",
            &|text| [b"\xff\xd8\xff", &zip("key", text)[..]].concat(),
            "/picture.jpg (key)",
        ),
        ("a.zz", &|text| zlib(text), "/a.zz (unpacked)"),
        (
            "a.pdf",
            &|text| {
                [
                    b"%PDF-1.7 x^2 \x78\x9c stream\n",
                    &zlib(text)[..],
                    b"\nendstream",
                ]
                .concat()
            },
            "/a.pdf (unpacked)",
        ),
        (
            "firmware",
            &|text| [b"\x7fELF\x1f\x8b\x08 ", &gzip(text)[..], b"end"].concat(),
            "/firmware (unpacked)",
        ),
        // The comment of a zip file in a file that is compressed.
        (
            "b.gz",
            &|text| {
                let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
                writer
                    .set_raw_comment(text[text.len() - 1000..].into())
                    .unwrap();
                gzip(&writer.finish().unwrap().into_inner())
            },
            "/b.gz (unpacked)",
        ),
    ] {
        let told_of = told(&leaks, name, &pack(&text)).unwrap_or_else(|| panic!("{name}"));
        assert!(told_of.contains(place), "{told_of}");
        // The twin is not the secret, and a damaged file does no harm.
        assert_eq!(told(&leaks, name, &pack(&twin)), None, "{name}");
        let packed = pack(&text);
        let _ = told(&leaks, name, &packed[..packed.len() / 2]);
    }
    // Readers of zip files take the last of a name.
    for method in [
        ::zip::CompressionMethod::Deflated,
        ::zip::CompressionMethod::Stored,
    ] {
        let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = ::zip::write::SimpleFileOptions::default().compression_method(method);
        for (name, bytes) in [("first.txt", &text[..]), ("other.txt", b"nothing")] {
            writer.start_file(name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        let mut packed = writer.finish().unwrap().into_inner();
        while let Some(at) = packed.windows(9).position(|part| part == b"other.txt") {
            packed[at..at + 9].copy_from_slice(b"first.txt");
        }
        // Stored, it would be found in the file as it is.
        packed.splice(0..0, *b"#!/bin/python\n");
        let packed = gzip(&packed);
        let told_of = told(&leaks, "a.gz", &packed).unwrap();
        assert!(told_of.contains("first.txt") || method == ::zip::CompressionMethod::Stored);
    }
    // As deep as nine; what is deeper is said. A bomb ends.
    let deep = |times: usize| (0..times).fold(text.clone(), |text, _| gzip(&text));
    assert!(told(&leaks, "a", &deep(9)).is_some());
    assert_eq!(noted(&leaks, &deep(11)), [Bound::Depth]);
    let bomb = gzip(&gzip(&vec![0; 8 << 20]));
    assert_eq!(noted(&leaks, &bomb), []);
}

/// What is said of a file in which nothing was found.
fn noted(leaks: &Leaks, content: &[u8]) -> Vec<Bound> {
    let mut search = leaks.search().unwrap();
    search.member(&member(b"a", MemberKind::File));
    search.content(content);
    search.end();
    assert!(search.verdict().is_ok());
    let mut notes: Vec<Bound> = search.notes().iter().map(|note| note.because).collect();
    notes.sort();
    notes.dedup();
    notes
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut writer = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// By Python, whose encoders are another's than the decoders here.
fn by_python(expression: &str, bytes: &[u8]) -> Vec<u8> {
    let program = format!(
        "import sys, base64, bz2, json, html, lzma, zlib, quopri, zipfile, io\n\
         text = sys.stdin.buffer.read()\n\
         out = {expression}\n\
         sys.stdout.buffer.write(out if isinstance(out, bytes) else out.encode())"
    );
    let mut child = std::process::Command::new("python3")
        .args(["-I", "-c", &program])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&text).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{expression}");
    output.stdout
}

/// Text in which the secret stands, long enough to be compressed, and its twin, in which it does not.
fn long_texts() -> [Vec<u8>; 2] {
    let words: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    [SECRET, &SECRET[1..]].map(|secret| [words.join(" ").as_bytes(), secret, b"\nend"].concat())
}

type Pack<'p> = &'p dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn no_order_of_archives_hides_one() {
    let leaks = leaks(SECRET);
    let [text, twin] = long_texts();
    let cases: &[(&str, Pack<'_>)] = &[
        ("two tars", &|text| {
            [tar("a", b"a"), gzip(&tar("b", text))].concat()
        }),
        ("two zips", &|text| {
            [zip("a", text), zip("b", b"b")].concat()
        }),
        ("the other way", &|text| {
            [zip("a", b"a"), zip("b", text)].concat()
        }),
        ("behind a zip's end", &|text| {
            [zip("a", b"a"), zlib(text)].concat()
        }),
        ("between a zip's members and its directory", &|text| {
            let mut packed = zip("a", b"a");
            let directory = packed
                .windows(4)
                .position(|part| part == b"PK\x01\x02")
                .unwrap();
            packed.splice(directory..directory, gzip(text));
            packed
        }),
        ("a member that the directory does not have", &|text| {
            let packed = zip("a", text);
            let directory = packed
                .windows(4)
                .position(|part| part == b"PK\x01\x02")
                .unwrap();
            [&packed[..directory], &zip("b", b"b")].concat()
        }),
        ("gzip of what looks like a tar", &|text| {
            gzip(&[&[b'.'; 257][..], b"ustar\0", &[0; 300], &gzip(text)].concat())
        }),
        ("gzip that looks like a tar", &|text| {
            // Its header has a comment.
            let packed = gzip(text);
            let mut comment = vec![b'.'; 247];
            comment.extend_from_slice(b"ustar\0");
            [
                &packed[..3],
                &[0x10],
                &packed[4..10],
                &comment,
                &packed[10..],
            ]
            .concat()
        }),
        ("a stream in the header of another", &|text| {
            let hidden = gzip(&text[text.len() - 100..]);
            let packed = gzip(b"nothing");
            let size = u16::try_from(hidden.len()).unwrap().to_le_bytes();
            [
                &packed[..3],
                &[4],
                &packed[4..10],
                &size,
                &hidden,
                &packed[10..],
            ]
            .concat()
        }),
        ("a file in parts", &|text| {
            let inner = gzip(text);
            let (first, second) = inner.split_at(inner.len() / 2);
            [gzip(first), gzip(second)].concat()
        }),
        ("gzip of a file cut off", &|text| {
            let packed = gzip(&[text, &b"x".repeat(1 << 20)].concat());
            packed[..packed.len() - 9].to_vec()
        }),
    ];
    for (name, pack) in cases {
        assert!(told(&leaks, "a", &pack(&text)).is_some(), "{name}");
        assert_eq!(told(&leaks, "a", &pack(&twin)), None, "{name}");
        assert_eq!(noted(&leaks, &pack(&twin)), [], "{name}");
    }
}

#[test]
fn what_python_packs_and_encodes_is_found() {
    let [text, twin] = long_texts();
    let leaks = leaks(SECRET);
    for expression in [
        "bz2.compress(text)",
        "bz2.compress(text[:9]) + bz2.compress(text[9:])",
        "lzma.compress(text)",
        "lzma.compress(text, format=lzma.FORMAT_ALONE)",
        "b'\\x7fELF' + lzma.compress(text, preset=9)",
        "(lambda c: c.compress(text) + c.flush())(zlib.compressobj(wbits=9))",
        "(lambda c: c.compress(text) + c.flush())(zlib.compressobj(level=1, wbits=12))",
        "(lambda f: (zipfile.ZipFile(f, 'w', zipfile.ZIP_LZMA).writestr('k', text), f.getvalue())[1])(io.BytesIO())",
        "(lambda f: (zipfile.ZipFile(f, 'w', zipfile.ZIP_BZIP2).writestr('k', text), f.getvalue())[1])(io.BytesIO())",
        "base64.b64encode(base64.b64encode(text[-100:]))",
        "base64.encodebytes(base64.encodebytes(text))",
        "base64.urlsafe_b64encode(base64.urlsafe_b64encode(base64.b64encode(text)))",
        "base64.b64encode(zlib.compress(text))",
        "b'key = ' + base64.encodebytes(bz2.compress(text))",
        "base64.b64encode(text.decode().encode('utf-16-le').hex().encode())",
        "text.hex(':')",
        "text.hex(' ', 2)",
        "bz2.compress(text).hex()",
        "', '.join(map(hex, text[-1000:]))",
        "json.dumps(list(text))",
        "html.escape(text.decode())",
        "html.escape(html.escape(text.decode()))",
        "''.join('&#%d;' % c for c in text[-1000:])",
        "''.join('&#x%x;' % c for c in text[-1000:])",
        "''.join('\\\\x%02x' % c for c in text)",
        "''.join('\\\\u%04x' % c for c in text)",
        "''.join('\\\\u{%x}' % c for c in text[-1000:])",
        "''.join('\\\\%03o' % c for c in text)",
        "json.dumps(''.join('\\\\u%04X' % c for c in text))",
        "json.dumps(json.dumps(base64.b64encode(zlib.compress(text)).decode())).replace('/', '\\\\/')",
        "''.join('%%%02x' % c for c in base64.b64encode(zlib.compress(text)))",
        "quopri.encodestring(text.replace(b'u', b'\\xc3\\xbc'), quotetabs=True).replace(b'=C3=BC', b'=75')",
        "base64.b64encode(zlib.compress(text)).decode().encode('utf-16')",
        "gzip_of_it",
    ] {
        let expression = expression.replace(
            "gzip_of_it",
            "__import__('gzip').compress(text.hex().encode())",
        );
        assert!(
            told(&leaks, "a", &by_python(&expression, &text)).is_some(),
            "{expression}"
        );
        assert_eq!(
            told(&leaks, "a", &by_python(&expression, &twin)),
            None,
            "{expression}"
        );
    }
    assert!(
        leaks
            .check(
                "the configuration",
                &by_python("base64.b64encode(zlib.compress(text))", &text)
            )
            .is_err()
    );
}

#[test]
fn false_beginnings_are_no_way_past() {
    let leaks = leaks(SECRET);
    let [text, twin] = long_texts();
    // More of them than were tried once.
    let false_ones = b"\x78\x9c\xff\x1f\x8b\x08".repeat(100_000);
    let file = |text: &[u8]| [&false_ones[..], &zlib(text), &bzip2(text)].concat();
    assert!(told(&leaks, "a", &file(&text)).is_some());
    assert_eq!(noted(&leaks, &file(&twin)), []);
    // Streams in streams that are long to read: where the work has an end, that is said.
    let stored = b"\0\x07\0\xf8\xff\x78\x01\0\0\0\xff\xff".repeat(50_000);
    assert_eq!(noted(&leaks, &stored), [Bound::Work]);
    // So is a file that is too large to be looked into.
    let large = vec![b'.'; inside::MOST_PACKED + 1];
    assert_eq!(noted(&leaks, &large), [Bound::Size]);
}

#[test]
fn every_field_is_found_in_every_form() {
    let secret = b"A=first/word+1\nPASSWORD='second word 2'\nDEBUG=true\n";
    let request = |contents: &[u8]| super::super::secrets::fields(contents);
    let of = |contents: &[u8]| {
        let fields = request(contents).into_iter();
        let named = fields.map(|(part, bytes)| (part.of("it"), bytes)).collect();
        Leaks::of(named, Redactor::of([]))
    };
    let leaks = of(secret);
    for field in ["first/word+1", "A=first/word+1", "second word 2"] {
        for (form, bytes) in forms(field.as_bytes()) {
            let file = [b"before ", &bytes[..], b" after"].concat();
            for piece in [1, 7, 1000] {
                assert!(finds(&leaks, &file, piece), "{field} {form:?}");
            }
        }
        let wrapped_hex = wrapped(&format!("{}00", hex_of(field)), 10, "\n");
        assert!(finds(&leaks, &wrapped_hex, 3), "{field}");
    }
    assert!(!finds(&leaks, b"DEBUG=true A= PASSWORD=", 3));
    // A key is found however its lines are wrapped.
    let body = "MIIEpAIBAAKCAQEAx8Q9vJ2f3kLmN0pQrStUvWxYz1234567890abcdefghijklmnop";
    let key = format!(
        "-----BEGIN X-----\n{}\n-----END X-----\n",
        String::from_utf8(wrapped(body, 20, "\n")).unwrap()
    );
    let leaks = of(key.as_bytes());
    for (width, end) in [(64, "\n"), (7, "\r\n"), (15, "\"\n  \""), (1000, "")] {
        assert!(finds(&leaks, &wrapped(body, width, end), 9), "{width}");
    }
}

#[test]
fn strings_of_json_are_found_as_each_writer_has_them() {
    let leaks = leaks("pä/s<w>'d".as_bytes());
    for text in [
        r#"{"key": "pä/s<w>'d"}"#,
        // PHP.
        r#"{"key": "p\u00e4\/s<w>'d"}"#,
        r#"{"key": "pä\/s<w>'d"}"#,
        // Python.
        r#"{"key": "p\u00e4/s<w>'d"}"#,
        // Go.
        r#"{"key": "pä/s\u003cw\u003e'd"}"#,
        // Django, with everything.
        r#"{"key": "p\u00E4/s\u003Cw\u003E\u0027d"}"#,
    ] {
        assert!(finds(&leaks, text.as_bytes(), 7), "{text}");
    }
    for other in [r#"{"key": "p\u00e5/s<w>'d"}"#, r#"{"key": "pä\s<w>'d"}"#] {
        assert!(!finds(&leaks, other.as_bytes(), 7), "{other}");
    }
}

fn hex_of(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

proptest! {
    #[test]
    fn any_secret_is_found_in_any_bytes(
        secret in prop::collection::vec(any::<u8>(), LEAST..60),
        before in prop::collection::vec(any::<u8>(), 0..50),
        piece in 1_usize..40,
    ) {
        prop_assume!(secret.trim_ascii().len() >= LEAST);
        let leaks = leaks(&secret);
        let plain = [&before[..], &secret, b"end"].concat();
        prop_assert!(finds(&leaks, &plain, piece));
        let encoded = STANDARD_NO_PAD.encode(&plain);
        prop_assert!(finds(&leaks, &wrapped(&encoded, 7, "\n"), piece));
        prop_assert!(finds(&leaks, &percent(&plain, true), piece));
    }
}
