//! Makes the JSON schema of a report from samples of it.
//!
//! So there is one definition of a report, its type; the schema, checked in, shows every change of it in review. Two
//! samples of one field give both types; a field that some sample lacks is not required.

use serde_json::{Map, Value, json};

/// The schema (JSON Schema 2020-12) that all samples satisfy.
pub(crate) fn infer(samples: &[&Value]) -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.extend(node(samples));
    pin_name_and_version(&mut schema, samples);
    Value::Object(schema)
}

fn node(samples: &[&Value]) -> Map<String, Value> {
    let mut types: Vec<&'static str> = samples.iter().map(|value| type_of(value)).collect();
    types.sort_unstable();
    types.dedup();
    // Every integer is a number.
    if types.contains(&"number") {
        types.retain(|name| *name != "integer");
    }
    let mut schema = Map::new();
    schema.insert(
        "type".to_owned(),
        if let [one] = types[..] {
            json!(one)
        } else {
            json!(types)
        },
    );

    let items: Vec<&Value> = samples
        .iter()
        .filter_map(|value| value.as_array())
        .flatten()
        .collect();
    if !items.is_empty() {
        schema.insert("items".to_owned(), Value::Object(node(&items)));
    }
    let objects: Vec<&Map<String, Value>> = samples
        .iter()
        .filter_map(|value| value.as_object())
        .collect();
    let mut keys: Vec<&String> = Vec::new();
    for key in objects.iter().flat_map(|object| object.keys()) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if !keys.is_empty() {
        let property = |key: &&String| {
            let values: Vec<&Value> = objects
                .iter()
                .filter_map(|object| object.get(*key))
                .collect();
            ((*key).clone(), Value::Object(node(&values)))
        };
        let required: Vec<_> = keys
            .iter()
            .filter(|key| objects.iter().all(|object| object.contains_key(**key)))
            .collect();
        schema.insert(
            "properties".to_owned(),
            Value::Object(keys.iter().map(property).collect()),
        );
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn pin_name_and_version(schema: &mut Map<String, Value>, samples: &[&Value]) {
    let pinned = schema
        .get_mut("properties")
        .and_then(|properties| properties["schema"]["properties"].as_object_mut());
    let Some((pinned, sample)) = pinned.zip(samples.first()) else {
        return;
    };
    for (key, property) in pinned {
        property["const"] = sample["schema"][key].clone();
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_every_type_and_requires_what_every_sample_has() {
        let full =
            json!({"schema": {"name": "x", "version": 1}, "a": [1, 1.5], "b": "text", "c": true});
        let empty = json!({"schema": {"name": "x", "version": 1}, "a": [], "b": null});
        let schema = infer(&[&full, &empty]);
        assert_eq!(
            schema["properties"]["a"],
            json!({"type": "array", "items": {"type": "number"}})
        );
        assert_eq!(schema["properties"]["b"]["type"], json!(["null", "string"]));
        assert_eq!(schema["required"], json!(["schema", "a", "b"]));
        assert_eq!(
            schema["properties"]["schema"]["properties"]["name"]["const"],
            json!("x")
        );
    }
}
