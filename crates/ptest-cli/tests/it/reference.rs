//! What is checked in is what the program says of itself: the reference, the settings, the JSON schemas.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::context::TestContext;

/// Fails unless a report is what its checked-in schema says, with no field more.
pub(crate) fn assert_conforms(name: &str, report: &Value) {
    let path = repository().join(format!("docs/reference/schemas/{name}.json"));
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).unwrap();
    if let Err(problem) = conforms(&schema, report, "$") {
        panic!("{problem}, against {name}:\n{report:#}");
    }
}

/// Set `PTEST_TEST_WRITE_REFERENCE` to write the files instead.
#[test]
fn the_generated_files_are_what_the_program_makes() {
    let write = std::env::var_os("PTEST_TEST_WRITE_REFERENCE").is_some();
    let mut stale = Vec::new();
    for file in ptest_cli::generated_files() {
        let path = repository().join(&file.path);
        if write {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &file.contents).unwrap();
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&file.contents) {
            stale.push(file.path);
        }
    }
    assert!(
        stale.is_empty(),
        "not up to date (cargo xtask docs writes them): {stale:?}"
    );
}

#[test]
fn no_schema_is_left_of_a_report_that_is_gone() {
    let known: Vec<PathBuf> = ptest_cli::generated_files()
        .into_iter()
        .map(|file| repository().join(file.path))
        .collect();
    for entry in fs::read_dir(repository().join("docs/reference/schemas")).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            known.contains(&path),
            "{} is made by nothing",
            path.display()
        );
    }
}

#[test]
fn the_hidden_command_prints_each_generated_file() {
    let context = TestContext::new();
    let list = context.run(["reference"]).success().stdout();
    let files = ptest_cli::generated_files();
    assert_eq!(list.lines().count(), files.len());
    for file in files {
        assert_eq!(
            context.run(["reference", &file.path]).success().stdout(),
            file.contents
        );
    }
    assert_eq!(context.run(["reference", "README.md"]).code(), Some(2));
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The part of JSON Schema that the generated schemas use.
fn conforms(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    if !types
        .iter()
        .any(|name| name.as_str().is_some_and(|name| is_a(value, name)))
    {
        return Err(format!("{at} is {value}, not {}", schema["type"]));
    }
    if let Some(constant) = schema.get("const").filter(|constant| *constant != value) {
        return Err(format!("{at} is {value}, not {constant}"));
    }
    if let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        for required in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !object.contains_key(required) {
                return Err(format!("{at}.{required} is missing"));
            }
        }
        for (key, value) in object {
            let property = properties
                .get(key)
                .ok_or_else(|| format!("{at}.{key} is not in the schema"))?;
            conforms(property, value, &format!("{at}.{key}"))?;
        }
    }
    if let (Some(array), Some(items)) = (value.as_array(), schema.get("items")) {
        for (index, value) in array.iter().enumerate() {
            conforms(items, value, &format!("{at}[{index}]"))?;
        }
    }
    Ok(())
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// What each kind means and what to do is written by hand; that none is left out is not.
#[test]
fn troubleshooting_has_every_kind_of_error() {
    let page = fs::read_to_string(repository().join("docs/troubleshooting.md")).unwrap();
    let missing: Vec<&str> = ptest::ErrorKind::ALL
        .into_iter()
        .map(ptest::ErrorKind::as_str)
        .filter(|kind| !page.contains(&format!("\n### `{kind}`\n")))
        .collect();
    assert!(missing.is_empty(), "no section of {missing:?}");
}

/// Likewise what each schema is of.
#[test]
fn the_list_of_schemas_has_each_of_them() {
    let page = fs::read_to_string(repository().join("docs/reference/schemas.md")).unwrap();
    let missing: Vec<String> = ptest_cli::generated_files()
        .into_iter()
        .filter_map(|file| Some(file.path.strip_prefix("docs/reference/")?.to_owned()))
        .filter(|path| path.starts_with("schemas/") && !page.contains(&format!("]({path})")))
        .collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
}
