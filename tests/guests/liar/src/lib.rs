//! Lists tools that are wrong in the way that `config.lie` names. Without a lie it lists one good tool.

use aih_plugin::{
    config,
    wit::{
        tools::Guest,
        types::{Call, Content, Failure, Output, Tool},
    },
};

struct Liar;

impl Guest for Liar {
    fn list_tools() -> Result<Vec<Tool>, Failure> {
        let lie = config::get_or("lie", String::new()).unwrap_or_default();
        let mut tool = good();
        match lie.as_str() {
            "" => {}
            "none" => return Ok(vec![]),
            "failure" => return Err(Failure::Unavailable("no tools today".to_owned())),
            "trap" => panic!("no tools ever"),
            "loop" => loop {
                std::hint::black_box(());
            },
            "duplicate" => return Ok(vec![good(), good()]),
            "empty_name" => tool.name = String::new(),
            "bad_name" => tool.name = "a/../b c\n".to_owned(),
            "long_name" => tool.name = "n".repeat(100_000),
            "separator" => tool.name = "other__tool".to_owned(),
            "no_json" => tool.input_schema = "{\"type\":".to_owned(),
            "no_object" => tool.input_schema = "[1]".to_owned(),
            "bad_schema" => tool.input_schema = with_property(r#"{"type": "nothing"}"#),
            "no_type" => tool.input_schema = "{}".to_owned(),
            "bad_properties" => tool.input_schema = with_property("true"),
            // A reference that fetches would be a request that nobody granted.
            "remote_schema" => {
                tool.input_schema = with_property(r#"{"$ref": "http://169.254.169.254/latest"}"#);
            }
            "file_schema" => tool.input_schema = with_property(r#"{"$ref": "file:///etc/passwd"}"#),
            // Forty definitions of which each holds the next one twice.
            "forking_schema" => {
                let fork = |n: usize| {
                    format!(
                        r##""d{n}":{{"anyOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}}"##,
                        n + 1
                    )
                };
                let forks = (0..40).map(fork).collect::<Vec<_>>().join(",");
                tool.input_schema = format!(
                    r##"{{"type":"object","properties":{{"n":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{forks},"d40":{{}}}}}}"##
                );
            }
            "deep_schema" => {
                tool.input_schema = format!("{}{}", r#"{"items":"#.repeat(50_000), "}".repeat(50_000));
            }
            "bad_output_schema" => tool.output_schema = Some("7".to_owned()),
            "bad_hint" => tool.annotations_json = Some(r#"{"readOnlyHint": "yes"}"#.to_owned()),
            "bad_annotations" => tool.annotations_json = Some("[]".to_owned()),
            "huge_description" => tool.description = "d".repeat(50_000_000),
            "control_characters" => tool.description = "\u{1b}[2J\0\u{202e}".to_owned(),
            "many" => {
                return Ok((0..100_000)
                    .map(|n| Tool {
                        name: format!("t{n}"),
                        ..good()
                    })
                    .collect());
            }
            other => return Err(Failure::Other(format!("no lie {other:?}"))),
        }
        Ok(vec![tool])
    }

    async fn call_tool(call: Call) -> Result<Output, Failure> {
        // Whether the hub checks the arguments first can be seen here.
        Ok(Output {
            content: vec![Content::Text(call.arguments_json)],
            structured_json: None,
            is_error: false,
            extras: vec![],
        })
    }
}

/// A schema of an object with one property.
fn with_property(schema: &str) -> String {
    format!(r#"{{"type": "object", "properties": {{"n": {schema}}}}}"#)
}

fn good() -> Tool {
    Tool {
        name: "good".to_owned(),
        title: None,
        description: "Gives its arguments back".to_owned(),
        input_schema: r#"{"type": "object", "properties": {"n": {"type": "integer"}}}"#.to_owned(),
        output_schema: None,
        annotations_json: None,
        extras: vec![],
    }
}

aih_plugin::export!(Liar);
