//! A hook that lets everything pass: what the benchmark takes for the cost of a hook.

use aih_plugin::{Event, Outcome, Result, hook};

#[hook]
async fn on_event(_: Event) -> Result<Outcome> {
    Ok(Outcome::proceed())
}
