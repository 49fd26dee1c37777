//! A hop that does nothing: bytes of one connection go on to another, unread. What it adds to a call is the price of
//! one more process on this machine. With one connection nothing that stands between can add less.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

#[derive(Parser)]
#[command(about = "Passes bytes on, for measurements")]
struct Arguments {
    /// Where they go.
    #[arg(long)]
    to: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<()> {
    let to = Arguments::parse().to;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    let address = listener.local_addr()?;
    #[expect(
        clippy::print_stdout,
        reason = "the program's whole output: where it can be reached"
    )]
    {
        println!("listening on http://{address}");
    }
    loop {
        let (client, _) = listener.accept().await?;
        // A connection that breaks ends the call that waits on it, which is noticed there.
        tokio::spawn(pass(client, to));
    }
}

async fn pass(mut client: TcpStream, to: SocketAddr) -> Result<()> {
    let mut server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
