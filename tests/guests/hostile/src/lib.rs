//! One attack for each tool, named as the attack. Those that come back tell how far they got.
//!
//! What Rust cannot say is in `../wat`.

mod compute;
mod files;
mod host;
mod network;
mod output;

use aih_plugin::arguments;

aih_plugin::plugin! {
    tools: [
        compute::endless_loop, compute::work, compute::fill_memory, compute::memory_bomb, compute::memory_grow, compute::deep_recursion,
        compute::panic, compute::exit, compute::abort, compute::never, compute::clocks,
        files::read_path, files::write_path, files::list_path, files::symlink_escape, files::hard_link,
        files::rename, files::disk_flood, files::env_dump, files::swap_for_link, files::fill,
        host::loop_in_host_call, host::sleep_forever, host::log_flood, host::progress_flood, host::state_flood,
        host::state_key, host::secret, host::self_call, host::reenter, host::random_huge, host::many_resources,
        network::fetch, network::fetch_many, network::header_flood, network::wasi_http, network::fail_in_body, network::tcp_connect,
        network::tcp_listen, network::udp_send, network::dns_lookup,
        output::output_1gb, output::many_blocks, output::huge_error, output::bad_json_output,
        output::invalid_utf8, output::huge_structured, output::bad_mime, output::bad_resource,
    ],
}

/// How much of it.
#[arguments]
pub struct Amount {
    /// How many, or how many megabytes: what the tool's name says.
    amount: Option<u64>,
}

impl Amount {
    fn or(&self, default: u64) -> u64 {
        self.amount.unwrap_or(default)
    }
}

/// Which way of it.
#[arguments]
pub struct How {
    /// The ways are in the tool's description.
    how: Option<String>,
}

impl How {
    fn or<'a>(&'a self, default: &'a str) -> &'a str {
        self.how.as_deref().unwrap_or(default)
    }
}
