//! The OpenAPI 3.1 document: the table's rows, with what the types say of themselves.

use serde_json::{Map, Value, json};
use vouchsafe_gateway::control::Request;

use super::shape::{Field, SHAPES, Shape};
use super::table::{Endpoint, Method, PREFIX, TABLE};

/// The document as text, the same for one version of the program.
pub(crate) fn document() -> String {
    let mut paths = Map::new();
    for endpoint in TABLE {
        let path = paths.entry(format!("{PREFIX}{}", endpoint.path)).or_insert_with(|| json!({}));
        if let Some(shape) = SHAPES.requests.get(endpoint.request) {
            path[endpoint.method.word()] = operation(endpoint, shape);
        }
    }
    let mut schemas = SHAPES.schemas.clone();
    schemas.insert("Problem".to_owned(), problem());
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Vouchsafe",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "What the administration page does, for programs.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "Made by `vouchsafe admin token add` or on the page of administrators.",
            }},
        },
    });
    format!("{document:#}\n")
}

fn operation(endpoint: &Endpoint, shape: &Shape) -> Value {
    let in_path = |name: &str| endpoint.path.contains(&format!("{{{name}}}"));
    let as_body = |name: &str| endpoint.method.has_body() && !in_path(name);
    let parameters = shape.fields.iter().filter(|(name, _)| !as_body(name)).map(|(name, field)| {
        let place = if in_path(name) { "path" } else { "query" };
        json!({ "name": name, "in": place, "required": field.required, "schema": field.schema })
    });
    let mut operation = json!({
        "operationId": endpoint.request,
        "summary": shape.about,
        "description": format!("Needs the role `{}`.", role(endpoint, shape)),
        "tags": [endpoint.path.split('/').nth(1).unwrap_or_default()],
        "responses": {
            "200": { "description": "Done.", "content": { content(endpoint): {
                "schema": SHAPES.responses.get(endpoint.response),
            }}},
            "default": { "description": "Not done, and why.", "content": { "application/problem+json": {
                "schema": { "$ref": "#/components/schemas/Problem" },
            }}},
        },
    });
    let parameters: Vec<Value> = parameters.collect();
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if endpoint.method.has_body() {
        let body: Vec<(&String, &Field)> = shape.fields.iter().filter(|(name, _)| as_body(name)).collect();
        let required = body.iter().filter(|(_, field)| field.required).map(|(name, _)| *name);
        let required: Vec<&String> = required.collect();
        let properties: Map<String, Value> =
            body.iter().map(|(name, field)| ((*name).clone(), field.schema.clone())).collect();
        let schema = json!({ "type": "object", "properties": properties, "required": required,
            "additionalProperties": false });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    operation
}

/// What it answers with.
fn content(endpoint: &Endpoint) -> &'static str {
    match (endpoint.method, endpoint.request) {
        (Method::Get, "trace") => "application/x-ndjson",
        _ => "application/json",
    }
}

/// The role that a request needs, asked of one with any values.
fn role(endpoint: &Endpoint, shape: &Shape) -> &'static str {
    let fields = shape.fields.iter().filter(|(_, field)| field.required);
    let mut example: Map<String, Value> =
        fields.map(|(name, field)| (name.clone(), field.example(&SHAPES.schemas))).collect();
    example.insert("request".to_owned(), Value::from(endpoint.request));
    let request: Result<Request, _> = serde_json::from_value(Value::Object(example));
    request.map_or("admin", |request| request.needs().word())
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why something was not done (RFC 9457). 400: not understood; 401: no such token; 403: the token's role is too small; 413: too large; 422: refused, in the words that page and command line have; 429: too many, try again after `Retry-After`.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What happened; what to do." },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_request_has_an_endpoint_and_every_endpoint_a_request() {
        let asked: BTreeSet<&str> = TABLE.iter().map(|endpoint| endpoint.request).collect();
        let known: BTreeSet<&str> = SHAPES.requests.keys().map(String::as_str).collect();
        let missing: Vec<_> = known.symmetric_difference(&asked).collect();
        assert!(
            missing.is_empty(),
            "add a row to crates/web/src/api/table.rs for (or take away): {missing:?}"
        );
        for endpoint in TABLE {
            let (request, response) = (endpoint.request, endpoint.response);
            assert!(SHAPES.responses.contains_key(response), "{request}: no response {response}");
            let shape = &SHAPES.requests[request];
            assert!(!shape.about.is_empty(), "{request}: what is it for?");
            for name in endpoint.path.split(['{', '}']).skip(1).step_by(2) {
                assert!(shape.fields.contains_key(name), "{}: no field {name} in {request}", endpoint.path);
            }
            let nested = shape.fields.values().any(|field| !field.is_plain());
            assert!(endpoint.method.has_body() || !nested, "{request}: a field that fits into no query");
        }
    }

    #[test]
    fn a_request_of_any_values_is_understood() {
        for (tag, shape) in &SHAPES.requests {
            let mut example: Map<String, Value> = shape
                .fields
                .iter()
                .map(|(name, field)| (name.clone(), field.example(&SHAPES.schemas)))
                .collect();
            example.insert("request".to_owned(), Value::from(tag.as_str()));
            let read: Result<Request, _> = serde_json::from_value(Value::Object(example.clone()));
            assert!(read.is_ok(), "{tag}: {:?} of {example:?}", read.err());
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = document();
        let document: Value = serde_json::from_str(&text).unwrap();
        for part in text.split("\"$ref\": \"").skip(1) {
            let path = part.split('"').next().unwrap().trim_start_matches('#');
            assert!(document.pointer(path).is_some(), "{path}");
        }
    }

    /// `UPDATE=1` writes it; read the difference.
    #[test]
    fn the_document_is_the_one_in_docs() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == document(),
            "docs/reference/openapi.json is stale: UPDATE=1 cargo test -p vouchsafe-web"
        );
    }
}
