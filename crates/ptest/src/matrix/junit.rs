//! The test results of many cells as one file in the JUnit form.
//!
//! What a cell's command wrote is copied as it is, its suites named after the cell. A cell whose command
//! wrote nothing that can be read is a suite with one test, the command.

use std::io::Write;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::name::QName;
use quick_xml::{Reader, Writer};

use super::plan::CellPlan;
use super::run::{CellResult, Outcome};
use crate::engine::ExitStatus;
use crate::error::{Error, Result};

/// The property that names the cell of a suite.
const PROPERTY: &str = "ptest.cell";

/// The most that is told of what a command wrote.
const TOLD: usize = 64 << 10;

/// One file of the results of all cells. `told` gives what the command of a cell wrote, for one that
/// failed and has no results.
pub fn merge(
    cells: &[(&CellPlan, &CellResult)],
    told: impl Fn(&CellResult) -> Vec<u8>,
) -> Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    let failed = |source: std::io::Error| Error::io("write the test results", source);
    write_all(&mut writer, cells, &told).map_err(failed)?;
    let mut text = writer.into_inner();
    text.push(b'\n');
    Ok(text)
}

fn write_all(
    writer: &mut Writer<Vec<u8>>,
    cells: &[(&CellPlan, &CellResult)],
    told: &impl Fn(&CellResult) -> Vec<u8>,
) -> std::io::Result<()> {
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    writer.write_event(Event::Start(
        BytesStart::new("testsuites").with_attributes([("name", "ptest matrix")]),
    ))?;
    for (plan, result) in cells {
        let name = plan.cell.name.as_str();
        let suites = result
            .results
            .as_deref()
            .and_then(|text| suites(name, text));
        match suites {
            Some(suites) => {
                writer.get_mut().extend_from_slice(b"\n");
                writer.get_mut().write_all(&suites)?;
            }
            None => one_test(writer, plan, result, told)?,
        }
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))
}

/// The suites of one file, named after the cell; `None` of what is no such file.
fn suites(cell: &str, text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader::from_str(text);
    let mut writer = Writer::new(Vec::new());
    // Suites can be in suites; properties go into the outermost ones.
    let mut depth = 0_usize;
    let mut awaits_properties = false;
    let mut found = false;
    loop {
        let event = reader.read_event().ok()?;
        if awaits_properties && !is_blank(&event) {
            awaits_properties = false;
            if matches!(&event, Event::Start(start) if start.name().as_ref() == "properties") {
                writer.write_event(event).ok()?;
                property(&mut writer, cell).ok()?;
                continue;
            }
            properties(&mut writer, cell).ok()?;
        }
        match event {
            Event::Start(start) if start.name().as_ref() == "testsuite" => {
                depth += 1;
                found = true;
                let is_outermost = depth == 1;
                let start = if is_outermost {
                    named(&start, cell)?
                } else {
                    start
                };
                writer.write_event(Event::Start(start)).ok()?;
                awaits_properties = is_outermost;
            }
            Event::Empty(start) if start.name().as_ref() == "testsuite" && depth == 0 => {
                found = true;
                writer
                    .write_event(Event::Start(named(&start, cell)?))
                    .ok()?;
                properties(&mut writer, cell).ok()?;
                writer
                    .write_event(Event::End(BytesEnd::new("testsuite")))
                    .ok()?;
            }
            Event::End(end) if end.name().as_ref() == "testsuite" => {
                writer.write_event(Event::End(end)).ok()?;
                depth = depth.checked_sub(1)?;
            }
            Event::Eof => break,
            other if depth > 0 => writer.write_event(other).ok()?,
            // What is around the suites is ours to write.
            _ => {}
        }
    }
    (found && depth == 0).then(|| writer.into_inner())
}

fn is_blank(event: &Event<'_>) -> bool {
    matches!(event, Event::Text(text) if text.trim().is_empty())
}

/// The start of a suite, called after the cell.
fn named(start: &BytesStart<'_>, cell: &str) -> Option<BytesStart<'static>> {
    let mut named = BytesStart::new("testsuite");
    let mut name = cell.to_owned();
    let mut others = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        if attribute.key.as_ref() == "name" {
            let own = &attribute.value;
            // What pytest calls every suite says nothing.
            if !own.is_empty() && own != "pytest" {
                name = format!("{cell}: {own}");
            }
        } else {
            others.push(attribute);
        }
    }
    // As it was read: nothing in it is to be escaped once more, and in the name of a cell nothing has to be.
    named.push_attribute(Attribute {
        key: QName("name"),
        value: name.into(),
    });
    for attribute in others {
        named.push_attribute(attribute);
    }
    Some(named)
}

fn properties(writer: &mut Writer<Vec<u8>>, cell: &str) -> std::io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new("properties")))?;
    property(writer, cell)?;
    writer.write_event(Event::End(BytesEnd::new("properties")))
}

fn property(writer: &mut Writer<Vec<u8>>, cell: &str) -> std::io::Result<()> {
    writer.write_event(Event::Empty(
        BytesStart::new("property").with_attributes([("name", PROPERTY), ("value", cell)]),
    ))
}

/// The suite of a cell that has no results of its own.
fn one_test(
    writer: &mut Writer<Vec<u8>>,
    plan: &CellPlan,
    result: &CellResult,
    told: &impl Fn(&CellResult) -> Vec<u8>,
) -> std::io::Result<()> {
    let cell = plan.cell.name.as_str();
    let (failures, errors, skipped) = match &result.outcome {
        _ if result.has_passed() => (0, 0, 0),
        Outcome::Ended(_) => (1, 0, 0),
        Outcome::Error(_) => (0, 1, 0),
        Outcome::Stopped => (0, 0, 1),
    };
    let time = format!("{:.3}", result.elapsed.as_secs_f64());
    let [failures, errors, skipped] = [failures, errors, skipped].map(|count| count.to_string());
    let suite = BytesStart::new("testsuite").with_attributes([
        ("name", cell),
        ("tests", "1"),
        ("failures", &failures),
        ("errors", &errors),
        ("skipped", &skipped),
        ("time", &time),
    ]);
    writer.write_event(Event::Start(suite))?;
    properties(writer, cell)?;
    let command = plan.command.join(" ");
    let case = BytesStart::new("testcase").with_attributes([
        ("classname", cell),
        ("name", command.as_str()),
        ("time", &time),
    ]);
    writer.write_event(Event::Start(case))?;
    match &result.outcome {
        _ if result.has_passed() => {}
        Outcome::Ended(exit) => {
            let message = match exit.status {
                _ if exit.timed_out => "timed out".to_owned(),
                ExitStatus::Code(code) => format!("ended with {code}"),
                ExitStatus::Signal(signal) => format!("ended by signal {signal}"),
            };
            element(writer, "failure", &message, &text(&told(result)))?;
        }
        Outcome::Error(error) => {
            let output = error.output().unwrap_or_default();
            element(writer, "error", &error.to_string(), output)?;
        }
        Outcome::Stopped => element(writer, "skipped", "stopped before its end", "")?,
    }
    writer.write_event(Event::End(BytesEnd::new("testcase")))?;
    writer.write_event(Event::End(BytesEnd::new("testsuite")))
}

fn element(
    writer: &mut Writer<Vec<u8>>,
    name: &str,
    message: &str,
    contents: &str,
) -> std::io::Result<()> {
    let message = allowed(message);
    let start = BytesStart::new(name).with_attributes([("message", message.as_str())]);
    writer.write_event(Event::Start(start))?;
    writer.write_event(Event::Text(BytesText::new(&allowed(contents))))?;
    writer.write_event(Event::End(BytesEnd::new(name)))
}

/// The end of what a command wrote, as text.
fn text(bytes: &[u8]) -> String {
    let begin = bytes.len().saturating_sub(TOLD);
    String::from_utf8_lossy(&bytes[begin..]).into_owned()
}

/// A text without what XML cannot hold: the control characters of terminals.
fn allowed(text: &str) -> String {
    let is_allowed = |letter: &char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named_suites(text: &str) -> Option<String> {
        suites("3.12-old", text.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn suites_are_named_after_their_cell_and_otherwise_as_they_were() {
        let of_pytest = r#"<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" tests="2" hostname="a&amp;b"><testcase name="x[&lt;]"/><testcase name="y"><failure message="no">a &lt; b</failure></testcase></testsuite></testsuites>"#;
        assert_eq!(
            named_suites(of_pytest).unwrap(),
            r#"<testsuite name="3.12-old" tests="2" hostname="a&amp;b"><properties><property name="ptest.cell" value="3.12-old"/></properties><testcase name="x[&lt;]"/><testcase name="y"><failure message="no">a &lt; b</failure></testcase></testsuite>"#
        );
        let of_others = r#"<testsuite name="unit &amp; more"> <properties><property name="a" value="b"/></properties><testsuite name="inner"/></testsuite>"#;
        assert_eq!(
            named_suites(of_others).unwrap(),
            r#"<testsuite name="3.12-old: unit &amp; more"> <properties><property name="ptest.cell" value="3.12-old"/><property name="a" value="b"/></properties><testsuite name="inner"/></testsuite>"#
        );
        assert_eq!(
            named_suites(r#"<testsuites><testsuite name=""/></testsuites>"#).unwrap(),
            r#"<testsuite name="3.12-old"><properties><property name="ptest.cell" value="3.12-old"/></properties></testsuite>"#
        );
    }

    #[test]
    fn what_is_no_file_of_test_results_is_none() {
        for text in [
            "",
            "nothing",
            "<testsuites></testsuites>",
            "<testsuite name='x'>",
            "<testsuite name='x'></testsuites>",
            "<testsuite name='x'><a></b></testsuite>",
            "</testsuite>",
        ] {
            assert_eq!(named_suites(text), None, "{text}");
        }
        assert_eq!(suites("x", b"<testsuite name='\xff'/>"), None);
    }

    #[test]
    fn what_a_terminal_obeys_is_in_no_file() {
        assert_eq!(allowed("a\u{1b}[31mb\u{0}\n\u{fffe}é"), "a[31mb\né");
    }
}
