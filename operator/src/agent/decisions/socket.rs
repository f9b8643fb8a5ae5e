//! The datagram socket that receives the hook's decisions, with the credentials of their senders.

use nix::sys::{
    socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
        UnixCredentials, bind, recvmsg, setsockopt, socket, sockopt,
    },
    stat::{Mode, fchmod},
};
use portcullis_profile::gate::decision::MAX_RECORD;
use std::{
    ffi::OsString,
    fs,
    io::{self, IoSliceMut},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};
use tokio::io::unix::AsyncFd;

/// How many bytes of unread datagrams the kernel keeps.
const BUFFER: usize = 256 * 1024;

/// One datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Its content, or `None` if it is longer than any record.
    pub(super) bytes: Option<Vec<u8>>,
    /// The sender, according to the kernel.
    pub(super) uid: Option<u32>,
}

/// The bound socket. Its file stays when the agent ends, and the next agent replaces it, so that
/// there is always one.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: AsyncFd<OwnedFd>,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Binds under a temporary name, then replaces an existing socket. Anything else in its place
    /// is left alone.
    pub(super) fn bind(path: &Path) -> io::Result<Socket> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut new = OsString::from(path);
        new.push(".new");
        let new = PathBuf::from(new);
        require_socket(path)?;
        if require_socket(&new)? {
            fs::remove_file(&new)?;
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        // Set before it has a name, so that the file is created with this mode.
        fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
        bind(socket.as_raw_fd(), &UnixAddr::new(&new)?)?;
        let inode = fs::symlink_metadata(&new)?.ino();
        fs::rename(&new, path)?;
        // The replacement of this function is unsafe; here the descriptor is owned and lives long
        // enough.
        #[allow(deprecated)]
        let descriptor = AsyncFd::new(socket)?;
        Ok(Socket {
            descriptor,
            path: path.to_owned(),
            inode,
        })
    }

    /// Whether its file is gone. Another process's socket in its place is left alone.
    pub(super) fn is_gone(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(there) => there.ino() != self.inode && !there.file_type().is_socket(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Waits for the next datagram.
    pub(super) async fn receive(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            match ready.try_io(|inner| take(inner.get_ref())) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

/// Receives one datagram. There is only room for the sender's credentials, so the kernel closes any
/// descriptors sent with it.
fn take(socket: &OwnedFd) -> io::Result<Received> {
    let mut buffer = vec![0; MAX_RECORD];
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let uid = message.cmsgs()?.find_map(|part| match part {
        ControlMessageOwned::ScmCredentials(sender) => Some(sender.uid()),
        _ => None,
    });
    let length = message.bytes;
    let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
    buffer.truncate(length);
    Ok(Received {
        bytes: whole.then_some(buffer),
        uid,
    })
}

/// Whether a socket exists. Anything else in its place is an error.
fn require_socket(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is not a socket", path.display()),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
