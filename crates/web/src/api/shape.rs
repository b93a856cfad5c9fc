//! What the types of `control` look like: their schemas, and of each request its fields.
//!
//! Fields that a request does not have are refused: a filter that is misspelt must not mean everything.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use vouchsafe_gateway::control::{Request, Response};

/// Schemas of everything that is asked and answered.
pub(crate) struct Shapes {
    /// By name; `#/components/schemas/NAME` refers to them.
    pub schemas: Map<String, Value>,
    /// By tag.
    pub requests: BTreeMap<String, Shape>,
    /// By tag.
    pub responses: BTreeMap<String, Value>,
}

/// A request.
pub(crate) struct Shape {
    /// What it is for.
    pub about: String,
    /// Its fields without the tag, by name.
    pub fields: BTreeMap<String, Field>,
}

/// A field of a request.
pub(crate) struct Field {
    /// As the type has it.
    pub schema: Value,
    /// It must be given.
    pub required: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Integer,
    Boolean,
    Text,
    Nested,
}

/// Made once.
pub(crate) static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

impl Shapes {
    fn new() -> Shapes {
        let (requests, asked) = variants::<Request>(SchemaSettings::draft2020_12());
        let (responses, answered) = variants::<Response>(SchemaSettings::draft2020_12().for_serialize());
        let mut schemas = asked;
        schemas.extend(answered);
        let shape = |mut schema: Value| {
            let about = schema["description"].as_str().unwrap_or_default().to_owned();
            let required: Vec<String> = serde_json::from_value(schema["required"].take()).unwrap_or_default();
            let properties = schema["properties"].as_object_mut().map(std::mem::take).unwrap_or_default();
            let fields = properties.into_iter().filter(|(name, _)| name != "request");
            let fields = fields.map(|(name, schema)| {
                let required = required.contains(&name);
                let schema = without_null(schema);
                let kind = kind(&schema, &schemas);
                (name, Field { schema, required, kind })
            });
            Shape { about, fields: fields.collect() }
        };
        let requests = requests.into_iter().map(|(tag, schema)| (tag, shape(schema)));
        Shapes { requests: requests.collect(), responses, schemas }
    }
}

impl Field {
    /// Whether it fits into a query.
    #[cfg(test)]
    pub fn is_plain(&self) -> bool {
        self.kind != Kind::Nested
    }

    /// A value from path or query, by the field's type.
    pub fn read(&self, text: &str) -> Option<Value> {
        match self.kind {
            Kind::Integer => text.parse::<i64>().ok().map(Value::from),
            Kind::Boolean => text.parse::<bool>().ok().map(Value::from),
            Kind::Text => Some(Value::from(text)),
            Kind::Nested => None,
        }
    }

    /// Some value of its type.
    pub fn example(&self, schemas: &Map<String, Value>) -> Value {
        let schema = resolved(&self.schema, schemas);
        let first = schema["enum"].get(0).or_else(|| schema["oneOf"].get(0).map(|one| &one["const"]));
        match self.kind {
            Kind::Integer => Value::from(1),
            Kind::Boolean => Value::from(false),
            Kind::Nested => match schema["oneOf"][0]["properties"].as_object() {
                // The first of several objects, told apart by a word.
                Some(fields) => {
                    fields.iter().map(|(name, field)| (name.clone(), field["const"].clone())).collect()
                }
                None => Value::Array(Vec::new()),
            },
            Kind::Text if schema["format"] == "uuid" => Value::from("00000000-0000-0000-0000-000000000000"),
            Kind::Text => first.cloned().unwrap_or(Value::from("")),
        }
    }
}

/// The variants of an enum that is tagged by one field, by tag, and the schemas they refer to.
fn variants<T: JsonSchema>(settings: SchemaSettings) -> (BTreeMap<String, Value>, Map<String, Value>) {
    let settings = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let all = T::json_schema(&mut generator).to_value();
    let mut by_tag = BTreeMap::new();
    for one in all["oneOf"].as_array().into_iter().flatten() {
        let properties = one["properties"].as_object().into_iter().flatten();
        let tag = properties.filter(|(name, _)| ["request", "response"].contains(&name.as_str()));
        let tag = tag.filter_map(|(_, schema)| schema["const"].as_str()).next();
        by_tag.insert(tag.unwrap_or_default().to_owned(), one.clone());
    }
    (by_tag, generator.take_definitions(true))
}

/// The schema behind a reference.
fn resolved<'a>(schema: &'a Value, schemas: &'a Map<String, Value>) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.and_then(|name| schemas.get(name)).unwrap_or(schema)
}

/// What may be left out need not be `null` too.
fn without_null(mut schema: Value) -> Value {
    let is_null = |one: &Value| *one == "null" || one["type"] == "null";
    if let Some(mut types) = schema["type"].as_array().cloned() {
        types.retain(|one| !is_null(one));
        if let [one] = &types[..] {
            schema["type"] = one.clone();
        }
    }
    if let Some(mut any) = schema["anyOf"].as_array().cloned() {
        any.retain(|one| !is_null(one));
        if let ([Value::Object(one)], Value::Object(whole)) = (&any[..], &mut schema) {
            whole.remove("anyOf");
            whole.extend(one.clone());
        }
    }
    if let Value::Object(whole) = &mut schema {
        whole.retain(|name, value| name != "default" || !value.is_null());
    }
    schema
}

fn kind(schema: &Value, schemas: &Map<String, Value>) -> Kind {
    let schema = resolved(schema, schemas);
    match schema["type"].as_str() {
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        Some("string") => Kind::Text,
        // Words, each with a sentence of its own.
        None if schema["oneOf"][0]["const"].is_string() => Kind::Text,
        _ => Kind::Nested,
    }
}
