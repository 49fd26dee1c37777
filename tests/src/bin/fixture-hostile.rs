//! An MCP server that misbehaves on request, over HTTP or stdio. See the module `hostile`.

#[path = "../hostile/mod.rs"]
mod hostile;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    hostile::run(std::env::args().skip(1).collect()).await
}
