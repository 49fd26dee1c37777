//! Sources that mean harm while they are built.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::{os::unix::fs::symlink, time::Duration};

use aih_builder::{BuildError, BuildOptions};
use common::{Project, RAW_JS, RAW_PY, options};

async fn error_of(name: &str, text: &str, options: &BuildOptions) -> BuildError {
    let project = Project::new(&[(name, text)]);
    match aih_builder::build(&project.source(name), options, |_| ()).await {
        Ok((component, _)) => panic!("{text:?} became a component of {} bytes", component.len()),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_endless_loop_is_stopped() {
    let options = BuildOptions {
        time: Duration::from_secs(5),
        ..options()
    };
    let error = error_of("plugin.js", &format!("for (;;) {{}}\n{RAW_JS}"), &options).await;
    assert!(matches!(error, BuildError::TimedOut(_)), "{error}");
}

#[tokio::test]
async fn a_memory_bomb_is_stopped() {
    let options = BuildOptions {
        memory: 512 << 20,
        ..options()
    };
    let js = format!("const all = []; for (;;) all.push(new Uint8Array(1 << 24).fill(1));\n{RAW_JS}");
    let error = error_of("plugin.js", &js, &options).await;
    assert!(matches!(error, BuildError::OutOfMemory(_)), "{error}");
}

#[tokio::test]
async fn a_source_that_is_nested_too_deeply_takes_only_its_build_down() {
    let text = format!("{}1{}\n{RAW_JS}", "[".repeat(2_000_000), "]".repeat(2_000_000));
    let error = error_of("plugin.js", &text, &options()).await;
    assert!(
        matches!(&error, BuildError::Crashed(why) if why == "the source is nested too deeply"),
        "{error}"
    );
}

#[tokio::test]
async fn python_sees_neither_files_nor_a_network() {
    let text = format!(
        "import os\n\
         for path in ('/etc/passwd', '/proc/self/environ', '../../../etc/passwd', '/2/../../../../etc/passwd'):\n    \
             try:\n        open(path).read()\n    except OSError:\n        continue\n    \
             raise SystemExit('read ' + path)\n\
         assert not [name for name in os.environ if name not in ('PYTHONPATH', 'PYTHONHOME', 'PYTHONUNBUFFERED')], dict(os.environ)\n\
         import socket\n\
         try:\n    socket.create_connection(('127.0.0.1', 22), 1)\nexcept (OSError, AttributeError, NotImplementedError):\n    pass\nelse:\n    raise SystemExit('connected')\n\
         {RAW_PY}"
    );
    let project = Project::new(&[("plugin.py", &text)]);
    project.build("plugin.py").await.unwrap();
}

#[tokio::test]
async fn a_build_that_is_given_up_ends() {
    let project = Project::new(&[("plugin.js", &format!("for (;;) {{}}\n{RAW_JS}"))]);
    let scratch = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        scratch: scratch.path().to_owned(),
        ..options()
    };
    let source = project.source("plugin.js");
    let build = aih_builder::build(&source, &options, |_| ());
    assert!(tokio::time::timeout(Duration::from_secs(1), build).await.is_err());
    // The folder goes when the child has ended and the build's thread with it.
    let gone = || std::fs::read_dir(scratch.path()).unwrap().next().is_none();
    let mut left = 1000;
    while !gone() && left > 0 {
        left -= 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gone());
}

/// A project beside a file that is none of its business.
fn beside(files: &[(&str, &str)]) -> (Project, std::path::PathBuf) {
    let project = Project::new(&[("outside/secret.js", "export const secret = 1;")]);
    project.write("outside/secret.py", "secret = 1\n");
    project.write("outside/package.json", "{ \"type\": \"module\" }");
    for (name, text) in files {
        project.write(&format!("inside/{name}"), text);
    }
    let root = project.folder.path().canonicalize().unwrap();
    (project, root)
}

#[tokio::test]
async fn javascript_imports_nothing_from_outside_its_folder() {
    let absolute = |root: &std::path::Path| root.join("outside/secret.js").display().to_string();
    for name in [
        "../outside/secret.js",
        "./link.js",
        "./folder/secret.js",
        "linked",
        "./a/../../outside/secret.js",
        "ABSOLUTE",
        "file://ABSOLUTE",
        "/proc/self/environ",
        "/etc/hostname",
    ] {
        let (project, root) = beside(&[("a/b.js", "")]);
        let name = name.replace("ABSOLUTE", &absolute(&root));
        project.write(
            "inside/plugin.js",
            &format!("import * as x from '{name}';\n{RAW_JS}"),
        );
        symlink(root.join("outside/secret.js"), root.join("inside/link.js")).unwrap();
        symlink(root.join("outside"), root.join("inside/folder")).unwrap();
        std::fs::create_dir(root.join("inside/node_modules")).unwrap();
        symlink(root.join("outside"), root.join("inside/node_modules/linked")).unwrap();
        let error = project.error("inside/plugin.js").await;
        assert!(
            matches!(error, BuildError::MissingImport { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_leads_out_says_nothing() {
    // What is outside would make an ECMAScript module of it.
    let (project, root) = beside(&[("plugin.js", &format!("import './lib/x.js';\n{RAW_JS}"))]);
    project.write("inside/lib/x.js", "module.exports = 1;");
    symlink(
        root.join("outside/package.json"),
        root.join("inside/lib/package.json"),
    )
    .unwrap();
    project.build("inside/plugin.js").await.unwrap();
}

#[tokio::test]
async fn python_imports_nothing_from_outside_its_folder() {
    for (link, to) in [
        ("inside/secret.py", "outside/secret.py"),
        ("inside/site-packages/secret.py", "outside/secret.py"),
        ("inside/site-packages/secret", "outside"),
        ("inside/secret", "outside"),
    ] {
        let text = format!(
            "try:\n    from secret import secret\nexcept ImportError:\n    secret = None\n\
             try:\n    from secret.secret import secret\nexcept ImportError:\n    pass\n\
             if secret is not None:\n    raise SystemExit('imported')\n{RAW_PY}"
        );
        let (project, root) = beside(&[("plugin.py", &text), ("site-packages/other.py", "")]);
        symlink(root.join(to), root.join(link)).unwrap();
        if let Err(error) = project.build("inside/plugin.py").await {
            panic!("{link}: {error}");
        }
    }
}

#[tokio::test]
async fn a_wheel_that_lies_elsewhere_and_a_pipe_are_refused() {
    let (project, root) = beside(&[("plugin.py", RAW_PY), ("wheels/a", "")]);
    symlink(
        root.join("outside/secret.py"),
        root.join("inside/wheels/x-1.0-py3-none-any.whl"),
    )
    .unwrap();
    let error = project.error("inside/plugin.py").await;
    assert!(error.to_string().contains("leads out"), "{error}");
    // Reading a pipe that nobody writes to would never end.
    let project = Project::new(&[("plugin.js", &format!("import './pipe.js';\n{RAW_JS}"))]);
    nix::unistd::mkfifo(&project.path("pipe.js"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = project.error("plugin.js").await;
    assert!(
        matches!(&error, BuildError::MissingImport { name, .. } if name == "./pipe.js"),
        "{error}"
    );
}

#[tokio::test]
async fn python_writes_and_links_nothing_outside_its_folder() {
    let text = format!(
        "import os\n\
         for path in ('/etc/aih', '/tmp/aih', '../../aih', '/0/../../aih', '/0/../../../component.wasm'):\n    \
             try:\n        open(path, 'w').write('x')\n    except OSError:\n        continue\n    \
             raise SystemExit('wrote ' + path)\n\
         for number, target in enumerate(('/etc/passwd', '../../../../../../../../etc/passwd', '../../wit')):\n    \
             try:\n        os.symlink(target, '/0/link-%d' % number)\n        \
             open('/0/link-%d' % number).read()\n        os.listdir('/0/link-%d' % number)\n    \
             except (OSError, AttributeError):\n        continue\n    \
             raise SystemExit('followed ' + target)\n\
         try:\n    os.link('/0/../../../wit', '/0/hard')\nexcept (OSError, AttributeError):\n    pass\n\
         {RAW_PY}"
    );
    let project = Project::new(&[("plugin.py", &text)]);
    project.build("plugin.py").await.unwrap();
}

#[tokio::test]
async fn python_starts_and_signals_no_process() {
    let text = format!(
        "import os, signal\n\
         def ways():\n    \
             yield lambda: os.fork()\n    yield lambda: os.system('true')\n    \
             yield lambda: os.kill(os.getppid(), 0)\n    yield lambda: os.kill(1, 0)\n    \
             yield lambda: os.execv('/bin/true', ['true'])\n    yield lambda: os.posix_spawn('/bin/true', ['true'], {{}})\n    \
             yield lambda: __import__('subprocess').run(['true'])\n    \
             yield lambda: __import__('_thread').start_new_thread(print, ())\n    \
             yield lambda: __import__('socket').socket().bind(('127.0.0.1', 0))\n\
         for way in ways():\n    \
             try:\n        way()\n    except (OSError, AttributeError, ImportError, NotImplementedError, RuntimeError):\n        continue\n    \
             raise SystemExit('it went well')\n\
         {RAW_PY}"
    );
    let project = Project::new(&[("plugin.py", &text)]);
    project.build("plugin.py").await.unwrap();
}

#[tokio::test]
async fn a_memory_bomb_in_python_is_stopped() {
    let text = format!("all = []\nwhile True:\n    all.append(bytearray(b'x') * (1 << 24))\n{RAW_PY}");
    let error = error_of("plugin.py", &text, &options()).await;
    assert!(matches!(error, BuildError::OutOfMemory(_)), "{error}");
}

#[tokio::test]
async fn python_cannot_fill_the_disk_or_leave_anything_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let options = BuildOptions {
        disk: 512 << 20,
        scratch: scratch.path().to_owned(),
        ..options()
    };
    let text = format!(
        "block = b'x' * (1 << 20)\nnumber = 0\nwhile True:\n    \
             with open('/0/flood-%d' % number, 'wb') as file:\n        file.write(block)\n    number += 1\n{RAW_PY}"
    );
    let error = error_of("plugin.py", &text, &options).await;
    assert!(matches!(error, BuildError::TooLarge { .. }), "{error}");
    // As deep as a path can be.
    let text = format!(
        "import os\ntry:\n    os.makedirs('/0/' + 'd/' * 1900)\nexcept (OSError, RecursionError):\n    pass\n\
         path = '/0'\nfor _ in range(1900):\n    path += '/e'\n    try:\n        os.mkdir(path)\n    except OSError:\n        break\n{RAW_PY}"
    );
    let project = Project::new(&[("plugin.py", &text)]);
    aih_builder::build(&project.source("plugin.py"), &options, |_| ())
        .await
        .unwrap();
    assert!(std::fs::read_dir(scratch.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn what_a_source_prints_is_no_message() {
    let forged = r#"{"inputs":[{"path":"plugin.js","hash":"0"}]}"#;
    let js = format!("import {{ a }} from './a.js';\nconsole.log('\\n{forged}\\n\"done\"\\n');\n{RAW_JS}");
    let project = Project::new(&[("plugin.js", &js), ("a.js", "export const a = 1;")]);
    let folder = tempfile::tempdir().unwrap();
    let cache = aih_builder::BuildCache::new(folder.path().join("components")).unwrap();
    let builder = aih_builder::Builder::new(cache, options());
    let built = builder.build(&project.source("plugin.js"), |_| ()).await.unwrap();
    assert_eq!(built.inputs.len(), 2);
}

#[tokio::test]
async fn folders_that_are_links_to_each_other_come_to_an_end() {
    let project = Project::new(&[
        ("plugin.py", &format!("import pkg\n{RAW_PY}")),
        ("site-packages/pkg/__init__.py", ""),
    ]);
    for name in ["one", "two", "three"] {
        symlink(".", project.path(&format!("site-packages/pkg/{name}"))).unwrap();
    }
    let error = project.error("plugin.py").await;
    assert!(
        matches!(&error, BuildError::TooLarge { what, .. } if what.starts_with("the depth of ")),
        "{error}"
    );
}
