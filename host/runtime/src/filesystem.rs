//! The folders of a sandbox (`wasi:filesystem`).
//!
//! What reads is wasmtime-wasi's own. Two things are different here. A sandbox begins with the descriptors that its
//! component holds, where wasmtime-wasi would open the folders by their paths for each sandbox anew. And what changes
//! something in a folder that can be written goes through [`Turn`], which keeps the folder within its quota.

use std::{collections::HashMap, fs::File, io, sync::Arc};

use rustix::io::Errno;
use wasmtime::{
    component::{HasData, Linker, Resource, ResourceTable},
    error::Context as _,
};
use wasmtime_wasi::{
    FsPerms, OpenMode,
    filesystem::{self as wasi, Descriptor, WasiFilesystemCtx, WasiFilesystemCtxView},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::{
            preopens,
            types::{
                self, DescriptorFlags, DirectoryEntry, DirectoryEntryStream, ErrorCode, Filesize,
                HostDescriptor, HostDirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
            },
        },
    },
};

use crate::{
    files::{Folder, Holder, Opened, Opening, Start, Turn, Writable},
    sandbox::Sandbox,
    streams::{Input, Output},
};

/// Listings of folders that a guest may hold at once. Each has the names of the whole folder in memory.
const LISTINGS: usize = 32;

/// Takes the place of wasmtime-wasi's own.
pub(crate) fn add_to_linker(linker: &mut Linker<Sandbox>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    preopens::add_to_linker::<_, Filesystem>(linker, view)?;
    types::add_to_linker::<_, Filesystem>(linker, view)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn view(sandbox: &mut Sandbox) -> View<'_> {
    View {
        files: &mut sandbox.files,
        table: &mut sandbox.table,
    }
}

struct Filesystem;

impl HasData for Filesystem {
    type Data<'a> = View<'a>;
}

/// The folders of one sandbox.
pub(crate) struct Files {
    folders: Arc<[Folder]>,
    wasi: WasiFilesystemCtx,
    /// The handles in folders that can be written, by their numbers.
    handles: HashMap<u32, Handle>,
    /// Listings of folders that the guest holds.
    listings: usize,
}

impl Files {
    pub(crate) fn new(folders: Arc<[Folder]>) -> Self {
        Self {
            folders,
            wasi: WasiFilesystemCtx::default(),
            handles: HashMap::new(),
            listings: 0,
        }
    }
}

/// What a handle of the guest belongs to.
#[derive(Clone)]
struct Handle {
    folder: Writable,
    /// Where it is a file's.
    file: Option<Arc<Holder>>,
}

/// The folders, for one call of the host.
pub(crate) struct View<'a> {
    files: &'a mut Files,
    table: &'a mut ResourceTable,
}

type Fd = Resource<Descriptor>;

impl View<'_> {
    fn wasi(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView {
            ctx: &mut self.files.wasi,
            table: self.table,
        }
    }

    /// What a handle belongs to, if that can be written.
    fn writable(&self, fd: &Fd) -> Option<Handle> {
        self.files.handles.get(&fd.rep()).cloned()
    }

    fn file(&self, fd: &Fd) -> FsResult<Arc<File>> {
        match self.table.get(fd)? {
            Descriptor::File(file) => Ok(file.file.clone()),
            Descriptor::Dir(_) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn folder(&self, fd: &Fd) -> FsResult<Arc<File>> {
        match self.table.get(fd)? {
            Descriptor::Dir(folder) => Ok(folder.dir.clone()),
            Descriptor::File(_) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// Two folders of which both can be written and that are the same one; `None` leaves the refusal to wasmtime-wasi.
    fn both(&self, one: &Fd, other: &Fd) -> FsResult<Option<Writable>> {
        let (Some(one), Some(other)) = (self.writable(one), self.writable(other)) else {
            return Ok(None);
        };
        // As between file systems: what is moved would have to be counted in both.
        if !one.folder.is_same(&other.folder) {
            return Err(ErrorCode::CrossDevice.into());
        }
        Ok(Some(one.folder))
    }
}

/// Makes a change in a folder.
async fn change<T: Send + 'static>(
    folder: &Writable,
    work: impl FnOnce(&Turn) -> io::Result<T> + Send + 'static,
) -> FsResult<T> {
    folder.usage.change(work).await.map_err(fs_error)
}

fn fs_error(error: io::Error) -> FsError {
    code_of(&error).into()
}

fn code_of(error: &io::Error) -> ErrorCode {
    // wasmtime-wasi has no word for it.
    match error.raw_os_error() == Some(Errno::DQUOT.raw_os_error()) {
        true => ErrorCode::Quota,
        false => ErrorCode::from(error),
    }
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let mut all = Vec::with_capacity(self.files.folders.len());
        for folder in &*self.files.folders {
            let fd = self
                .table
                .push(folder.descriptor())
                .context("a granted folder has no place among the handles")?;
            if let Some(folder) = folder.writable() {
                let handle = Handle { folder, file: None };
                self.files.handles.insert(fd.rep(), handle);
            }
            all.push((fd, folder.seen_as.to_string()));
        }
        Ok(all)
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error.downcast_ref::<io::Error>().map(code_of))
    }
}

impl HostDescriptor for View<'_> {
    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        let handle = self.writable(&fd);
        let stream = self.wasi().read_via_stream(fd, offset)?;
        let Some(Handle { file: Some(file), .. }) = handle else {
            return Ok(stream);
        };
        // A stream keeps its file open like a handle does.
        let inner = self.table.delete(stream)?;
        Ok(self
            .table
            .push(Box::new(Input::new(inner, file)) as DynInputStream)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let Some(handle) = self.writable(&fd) else {
            return self.wasi().write_via_stream(fd, offset);
        };
        self.output(&fd, handle, Start::At(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let Some(handle) = self.writable(&fd) else {
            return self.wasi().append_via_stream(fd);
        };
        self.output(&fd, handle, Start::End)
    }

    async fn advise(
        &mut self,
        fd: Fd,
        offset: Filesize,
        len: Filesize,
        advice: types::Advice,
    ) -> FsResult<()> {
        self.wasi().advise(fd, offset, len, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.wasi().sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        self.wasi().get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<types::DescriptorType> {
        self.wasi().get_type(fd).await
    }

    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().set_size(fd, size).await;
        };
        let (file, quota) = (self.file(&fd)?, folder.quota);
        change(&folder, move |turn| turn.set_length(quota, &file, size)).await
    }

    async fn set_times(&mut self, fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()> {
        self.wasi().set_times(fd, accessed, modified).await
    }

    async fn read(&mut self, fd: Fd, length: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)> {
        self.wasi().read(fd, length, offset).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().write(fd, bytes, offset).await;
        };
        let (file, quota) = (self.file(&fd)?, folder.quota);
        let length = Filesize::try_from(bytes.len()).unwrap_or(Filesize::MAX);
        change(&folder, move |turn| {
            turn.write(quota, &file, &bytes, Start::At(offset))
        })
        .await?;
        Ok(length)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        if self.files.listings >= LISTINGS {
            return Err(ErrorCode::InsufficientMemory.into());
        }
        let listing = self.wasi().read_directory(fd).await?;
        self.files.listings += 1;
        Ok(listing)
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.wasi().sync(fd).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().create_directory_at(fd, path).await;
        };
        let (at, quota) = (self.folder(&fd)?, folder.quota);
        change(&folder, move |turn| turn.make_folder(quota, &at, path.as_ref())).await
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        self.wasi().stat(fd).await
    }

    async fn stat_at(&mut self, fd: Fd, flags: PathFlags, path: String) -> FsResult<types::DescriptorStat> {
        self.wasi().stat_at(fd, flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.wasi()
            .set_times_at(fd, flags, path, accessed, modified)
            .await
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        to: Fd,
        name: String,
    ) -> FsResult<()> {
        let Some(folder) = self.both(&fd, &to)? else {
            return self.wasi().link_at(fd, flags, path, to, name).await;
        };
        if flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return Err(ErrorCode::Invalid.into());
        }
        let (from, to, quota) = (self.folder(&fd)?, self.folder(&to)?, folder.quota);
        change(&folder, move |turn| {
            turn.link(quota, (&from, path.as_ref()), (&to, name.as_ref()))
        })
        .await
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().open_at(fd, path_flags, path, open_flags, flags).await;
        };
        // As wasmtime-wasi refuses them.
        let synchronous = [
            DescriptorFlags::FILE_INTEGRITY_SYNC,
            DescriptorFlags::DATA_INTEGRITY_SYNC,
            DescriptorFlags::REQUESTED_WRITE_SYNC,
        ];
        if synchronous.into_iter().any(|flag| flags.contains(flag)) {
            return Err(ErrorCode::Unsupported.into());
        }
        let how = Opening {
            create: open_flags.contains(OpenFlags::CREATE),
            exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
            truncate: open_flags.contains(OpenFlags::TRUNCATE),
            folder: open_flags.contains(OpenFlags::DIRECTORY),
            follow: path_flags.contains(PathFlags::SYMLINK_FOLLOW),
            read: flags.contains(DescriptorFlags::READ),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        if how.folder && (how.create || how.exclusive || how.truncate) {
            return Err(ErrorCode::Invalid.into());
        }
        let (at, quota) = (self.folder(&fd)?, folder.quota);
        let opened = change(&folder, move |turn| turn.open(quota, &at, path.as_ref(), how)).await?;
        let mut mode = OpenMode::empty();
        if how.read || !how.write {
            mode |= OpenMode::READ;
        }
        if how.write || how.create || how.truncate {
            mode |= OpenMode::WRITE;
        }
        let (descriptor, file) = match opened {
            Opened::File(file, holder) => {
                let file = wasi::File::new(file, FsPerms::ReadWrite, mode, false);
                (Descriptor::File(file), Some(Arc::new(holder)))
            }
            Opened::Folder(folder) => {
                let folder = wasi::Dir::new(folder, FsPerms::ReadWrite, mode, false);
                (Descriptor::Dir(folder), None)
            }
        };
        let opened = self.table.push(descriptor)?;
        self.files.handles.insert(opened.rep(), Handle { folder, file });
        Ok(opened)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.wasi().readlink_at(fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().remove_directory_at(fd, path).await;
        };
        let at = self.folder(&fd)?;
        change(&folder, move |turn| turn.remove_folder(&at, path.as_ref())).await
    }

    async fn rename_at(&mut self, fd: Fd, path: String, to: Fd, name: String) -> FsResult<()> {
        let Some(folder) = self.both(&fd, &to)? else {
            return self.wasi().rename_at(fd, path, to, name).await;
        };
        let (from, to) = (self.folder(&fd)?, self.folder(&to)?);
        change(&folder, move |turn| {
            turn.rename((&from, path.as_ref()), (&to, name.as_ref()))
        })
        .await
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().symlink_at(fd, target, path).await;
        };
        let (at, quota) = (self.folder(&fd)?, folder.quota);
        change(&folder, move |turn| {
            turn.make_link(quota, target.as_ref(), &at, path.as_ref())
        })
        .await
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(Handle { folder, .. }) = self.writable(&fd) else {
            return self.wasi().unlink_file_at(fd, path).await;
        };
        let at = self.folder(&fd)?;
        change(&folder, move |turn| turn.remove(&at, path.as_ref())).await
    }

    async fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        self.wasi().is_same_object(one, other).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        self.wasi().metadata_hash(fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        self.wasi().metadata_hash_at(fd, flags, path).await
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        let number = fd.rep();
        HostDescriptor::drop(&mut self.wasi(), fd)?;
        self.files.handles.remove(&number);
        Ok(())
    }
}

impl View<'_> {
    fn output(&mut self, fd: &Fd, handle: Handle, start: Start) -> FsResult<Resource<DynOutputStream>> {
        let file = self.file(fd)?;
        let output = Output::new(file, handle.file, handle.folder, start);
        Ok(self.table.push(Box::new(output) as DynOutputStream)?)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.wasi().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.wasi(), stream)?;
        self.files.listings = self.files.listings.saturating_sub(1);
        Ok(())
    }
}
