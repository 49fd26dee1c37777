//! Keeps one component ready. Prepares it in the background, and again when one of its files changes, or when another
//! folder is at the path of a folder that it is granted.
//!
//! If the new content is wrong, the component that was ready before continues to serve, and its status has the error.

use std::{
    future::Future,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, SystemTime},
};

use aih_redact::OutsideText;
use aih_runtime::{GrantError, Loaded, Spec, World};
use arc_swap::{ArcSwap, ArcSwapOption};
use tokio_util::task::AbortOnDropHandle;

use super::{ComponentLoader, PrepareError};
use crate::{config, provider::ProviderState};

/// How often the files of a component are looked at.
const WATCH: Duration = Duration::from_secs(2);

/// How far the time of a change may lie behind the clock: the kernel writes its time of the last tick.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// What is kept ready, and from what.
pub(crate) struct ComponentSource {
    /// The source or the component.
    pub(crate) file: PathBuf,
    /// Its language.
    pub(crate) language: config::Runtime,
    /// What it is for.
    pub(crate) world: World,
    /// What it may reach and use.
    pub(crate) spec: Result<Spec, GrantError>,
    /// Why it is switched off, if it is.
    pub(crate) disabled: Option<String>,
}

/// See the module. `T` is what is made of the component once it is loaded.
pub(crate) struct LiveComponent<T> {
    source: ComponentSource,
    loader: ComponentLoader,
    ready: ArcSwapOption<T>,
    status: ArcSwap<ComponentStatus>,
    task: OnceLock<AbortOnDropHandle<()>>,
}

/// How a component is.
#[derive(Clone, Debug)]
pub(crate) struct ComponentStatus {
    /// Whether it serves.
    pub(crate) state: ProviderState,
    /// The last error, or the reason why it is switched off.
    pub(crate) last_error: Option<OutsideText>,
}

impl<T: Send + Sync + 'static> LiveComponent<T> {
    /// Starts to prepare. `finish` makes of a loaded component what is kept; `report` is called with every outcome: what
    /// was made, or the error.
    pub(crate) fn start<F>(
        source: ComponentSource,
        loader: ComponentLoader,
        finish: impl Fn(Loaded) -> F + Send + Sync + 'static,
        report: impl Fn(Result<&T, &str>) + Send + Sync + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = Result<T, PrepareError>> + Send + 'static,
    {
        let disabled = source.disabled.clone();
        let live = Arc::new(Self {
            loader,
            ready: ArcSwapOption::empty(),
            status: ArcSwap::from_pointee(ComponentStatus {
                state: match disabled {
                    Some(_) => ProviderState::Disabled,
                    None => ProviderState::Starting,
                },
                last_error: disabled.clone().map(OutsideText::from),
            }),
            task: OnceLock::new(),
            source,
        });
        if disabled.is_none() {
            let task = tokio::spawn(Self::keep(Arc::downgrade(&live), finish, report));
            let _ = live.task.set(AbortOnDropHandle::new(task));
        }
        live
    }

    async fn keep<F>(
        weak: Weak<Self>,
        finish: impl Fn(Loaded) -> F + Send,
        report: impl Fn(Result<&T, &str>) + Send,
    ) where
        F: Future<Output = Result<T, PrepareError>> + Send + 'static,
    {
        let mut inputs = Vec::new();
        loop {
            let Some(live) = weak.upgrade() else { return };
            let folders = live.folders();
            // From before the files are read, so that no change falls between a look and a build.
            let began = SystemTime::now();
            let granted = identities(folders.clone()).await;
            match live.prepare(&finish).await {
                Ok((made, read)) => {
                    inputs = read;
                    let made = Arc::new(made);
                    live.ready.store(Some(made.clone()));
                    live.set_status(ProviderState::Up, None);
                    report(Ok(&*made));
                }
                Err(error) => {
                    let error = OutsideText::from(with_causes(&error));
                    let state = match live.ready() {
                        Some(_) => ProviderState::Up,
                        None => ProviderState::Down,
                    };
                    live.set_status(state, Some(error.clone()));
                    report(Err(&error));
                    // What the last build read may be what is wrong, and what is mended next.
                    if !inputs.contains(&live.source.file) {
                        inputs.push(live.source.file.clone());
                    }
                }
            }
            drop(live);
            let built = stamps(inputs.clone()).await;
            let stale = changed_within(&built, began, SystemTime::now());
            loop {
                tokio::time::sleep(WATCH).await;
                if weak.strong_count() == 0 {
                    return;
                }
                let same = !stale && stamps(inputs.clone()).await == built;
                if !same || identities(folders.clone()).await != granted {
                    break;
                }
            }
        }
    }

    async fn prepare<F>(&self, finish: &impl Fn(Loaded) -> F) -> Result<(T, Vec<PathBuf>), PrepareError>
    where
        F: Future<Output = Result<T, PrepareError>> + Send + 'static,
    {
        let source = &self.source;
        let spec = source.spec.clone()?;
        let prepared = self
            .loader
            .prepare(&source.file, source.language, source.world, spec)
            .await?;
        Ok((finish(prepared.component).await?, prepared.inputs))
    }

    /// The folders that it is granted.
    fn folders(&self) -> Vec<PathBuf> {
        let spec = self.source.spec.as_ref().ok();
        let files = spec.into_iter().flat_map(|spec| &spec.grants.files);
        files.map(|grant| grant.path.clone()).collect()
    }

    /// What is ready, if anything is.
    pub(crate) fn ready(&self) -> Option<Arc<T>> {
        self.ready.load_full()
    }

    /// How it is.
    pub(crate) fn status(&self) -> Arc<ComponentStatus> {
        self.status.load_full()
    }

    /// A call went wrong in a way that the operator should see.
    pub(crate) fn note(&self, error: impl Into<OutsideText>) {
        let state = self.status.load().state;
        self.set_status(state, Some(error.into()));
    }

    /// Why it cannot be called.
    pub(crate) fn unavailable(&self) -> String {
        let status = self.status();
        match (status.state, &status.last_error) {
            (ProviderState::Starting, _) => "is being prepared; try again".to_owned(),
            (_, Some(error)) => error.to_string(),
            (_, None) => "does not serve".to_owned(),
        }
    }

    /// Ends the watching.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn set_status(&self, state: ProviderState, last_error: Option<OutsideText>) {
        self.status.store(Arc::new(ComponentStatus { state, last_error }));
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &PrepareError) -> String {
    let causes = anyhow::Chain::new(error);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What tells that a file has changed: its time of change and its size, `None` where there is none.
type FileStamp = Option<(SystemTime, u64)>;

/// Whether a file may have changed while it was read. Times of files are a few milliseconds behind the clock; a time in
/// the future says nothing.
fn changed_within(files: &[FileStamp], began: SystemTime, ended: SystemTime) -> bool {
    let began = began.checked_sub(CLOCK_STEP).unwrap_or(began);
    files
        .iter()
        .flatten()
        .any(|(changed, _)| (began..=ended).contains(changed))
}

async fn stamps(files: Vec<PathBuf>) -> Vec<FileStamp> {
    let look = move || {
        let stamp = |file: &PathBuf| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        files.iter().map(stamp).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// Device and inode of each folder, `None` where there is none. What is in it does not count.
async fn identities(folders: Vec<PathBuf>) -> Vec<Option<(u64, u64)>> {
    let look = move || {
        let identity = |folder: &PathBuf| {
            let metadata = std::fs::metadata(folder).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        folders.iter().map(identity).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_during_a_build_is_one_more_reason_to_build() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let changed = |seconds: u64| changed_within(&[None, Some((at(seconds), 1))], at(10), at(20));
        assert!(!changed(9) && changed(10) && changed(15) && changed(20));
        // A clock that was ahead when the file was written must not build it without end.
        assert!(!changed(21));
        // The kernel's time of a file is that of its last tick.
        let before = at(10) - Duration::from_millis(4);
        assert!(changed_within(&[Some((before, 1))], at(10), at(20)));
    }
}
