//! Reads from a component's type what it is. Nothing of the component runs.

use wasmtime::{
    Engine,
    component::{Component, types::ComponentItem},
};

use crate::{component::World, error::LoadError};

/// What a component exports and imports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The world that it fits, if it fits one.
    pub world: Option<World>,
    /// Names of its exports.
    pub exports: Vec<String>,
    /// Names of its imports. Made from JavaScript or Python, it imports everything, used or not.
    pub imports: Vec<String>,
}

/// Reads a component.
///
/// # Errors
/// It is not a component, or the compiler refuses it.
pub async fn inspect(runtime: &crate::Runtime, wasm: Vec<u8>) -> Result<Inspection, LoadError> {
    let component = runtime.inner.component(wasm).await?;
    Ok(read(&component, &runtime.inner.engine))
}

fn read(component: &Component, engine: &Engine) -> Inspection {
    let kind = component.component_type();
    let exports: Vec<String> = kind
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .collect();
    let imports = kind.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let world = [World::Plugin, World::Hook]
        .into_iter()
        .find(|world| exports.iter().any(|name| fits(name, wanted(*world))));
    Inspection {
        world,
        exports,
        imports,
    }
}

/// The interface that a world exports, without its version.
fn wanted(world: World) -> &'static str {
    match world {
        World::Plugin => "aih:plugin/tools",
        World::Hook => "aih:plugin/hooks",
    }
}

/// Whether an export is an interface in a version that this hub has: 1.x.
fn fits(name: &str, interface: &str) -> bool {
    name.split_once('@')
        .is_some_and(|(found, version)| found == interface && version.starts_with("1."))
}

/// Whether a component fits a world, and what it lacks.
pub(crate) fn check(component: &Component, engine: &Engine, world: World) -> Result<(), LoadError> {
    let found = read(component, engine);
    let interface = wanted(world);
    let fault = |text: String| Err(LoadError::WrongWorld(text));
    let unknown: Vec<&str> = found
        .imports
        .iter()
        .map(String::as_str)
        .filter(|name| !is_offered(name))
        .collect();
    if !unknown.is_empty() {
        return fault(format!(
            "it imports {}, which this hub does not offer; it offers aih:host 1.x and WASI 0.2",
            unknown.join(", ")
        ));
    }
    if !found.exports.iter().any(|name| fits(name, interface)) {
        let other = found
            .exports
            .iter()
            .find(|name| name.split('@').next() == Some(interface));
        return match (other, found.world) {
            (Some(name), _) => fault(format!("it exports {name}, this hub has 1.x")),
            (None, Some(World::Hook)) => fault("it is a hook: list it under `hooks`".to_owned()),
            (None, Some(World::Plugin)) => fault("it is a plugin: list it under `plugins`".to_owned()),
            (None, None) if found.exports.is_empty() => {
                fault(format!("it exports nothing, and must export {interface}@1.0.0"))
            }
            (None, None) => fault(format!(
                "it exports {}, and must export {interface}@1.0.0",
                found.exports.join(", ")
            )),
        };
    }
    Ok(())
}

/// The interfaces of `aih:host` and `aih:plugin` that a component may import.
const OFFERED: [&str; 9] = [
    "aih:host/client",
    "aih:host/config",
    "aih:host/http",
    "aih:host/log",
    "aih:host/mcp",
    "aih:host/progress",
    "aih:host/state",
    "aih:host/system",
    "aih:plugin/types",
];

/// A first look, for a readable message; the linker has the last word.
fn is_offered(import: &str) -> bool {
    let Some((name, version)) = import.split_once('@') else {
        return false;
    };
    if name.starts_with("wasi:") {
        return version.starts_with("0.2.");
    }
    OFFERED.contains(&name) && version.starts_with("1.")
}
