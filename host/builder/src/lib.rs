//! A JavaScript, TypeScript or Python source to a WebAssembly component, with no Node and no Python on the machine.
