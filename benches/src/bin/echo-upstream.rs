//! A MCP server with nothing to do, so that what is measured is the way to it.
//!
//! Streamable HTTP at `/mcp` with rmcp as it comes: legacy sessions on, modern requests without one. Tools:
//! `echo` gives `text` back, `big` gives 100 kB, and `--tools N` adds N that are only listed.

use std::net::SocketAddr;
use std::sync::Arc;

use aih_benches::BIG_BYTES;
use anyhow::{Context, Result};
use axum::serve::ListenerExt;
use clap::Parser;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};

#[derive(Parser)]
#[command(about = "A MCP server with nothing to do, for measurements")]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How many tools to list beside `echo` and `big`.
    #[arg(long, default_value_t = 0)]
    tools: usize,
}

#[derive(Clone)]
struct Echo {
    tools: Arc<[Tool]>,
    big: Arc<str>,
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("echo-upstream", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = match request.name.as_ref() {
            "echo" => request
                .arguments
                .as_ref()
                .and_then(|arguments| arguments.get("text"))
                .and_then(Value::as_str)
                .ok_or_else(|| ErrorData::invalid_params("echo needs a text", None))?
                .to_owned(),
            "big" => self.big.to_string(),
            other => return Err(ErrorData::invalid_params(format!("no tool {other:?}"), None)),
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]).into())
    }
}

fn schema(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// A tool as an issue tracker or a payment service lists it: six arguments, about 1 kB.
fn filler(number: usize) -> Tool {
    const VERBS: [&str; 8] = [
        "create", "update", "list", "delete", "search", "archive", "assign", "export",
    ];
    const THINGS: [&str; 6] = [
        "issue",
        "invoice",
        "customer",
        "deployment",
        "document",
        "subscription",
    ];
    let verb = VERBS.get(number % VERBS.len()).copied().unwrap_or("get");
    let thing = THINGS.get(number % THINGS.len()).copied().unwrap_or("item");
    Tool::new(
        format!("{verb}_{thing}_{number:04}"),
        format!(
            "{verb} the {thing} that the arguments describe. Answers with the {thing} as it is afterwards."
        ),
        schema(json!({
            "type": "object",
            "required": ["id", "title"],
            "additionalProperties": false,
            "properties": {
                "id": {"type": "string", "description": format!("The {thing}'s identifier"), "pattern": "^[a-z0-9_]{4,40}$"},
                "title": {"type": "string", "description": "What to show in lists", "maxLength": 200},
                "state": {"type": "string", "enum": ["open", "closed", "draft"], "default": "open"},
                "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 20, "uniqueItems": true},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25},
                "owner": {"type": "object", "properties": {
                    "name": {"type": "string"},
                    "email": {"type": "string", "format": "email"}
                }}
            }
        })),
    )
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut tools = vec![
        Tool::new(
            "echo",
            "Gives the text back",
            schema(
                json!({"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}),
            ),
        ),
        Tool::new("big", "Gives 100 kB of text", schema(json!({"type": "object"}))),
    ];
    tools.extend((0..arguments.tools).map(filler));
    let echo = Echo {
        tools: tools.into(),
        big: "0123456789abcdef".repeat(BIG_BYTES / 16).into(),
    };

    let service = StreamableHttpService::new(
        move || Ok(echo.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    // Without it every streamed answer waits about 44 ms for a delayed ACK.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    #[expect(
        clippy::print_stdout,
        reason = "the program's whole output: where it can be reached"
    )]
    {
        println!("listening on http://{address}");
    }
    axum::serve(listener, axum::Router::new().nest_service("/mcp", service)).await?;
    Ok(())
}
