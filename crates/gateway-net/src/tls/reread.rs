//! What is made of files and made anew when they have changed.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Contents, TlsError, TlsFiles};

/// Makes rustls's configuration of what the files hold; the protocols are those of ALPN (RFC 7301).
pub(super) type Make<C> = fn(&Contents, &TlsFiles, &[&str]) -> Result<Arc<C>, TlsError>;

/// See the module.
pub(super) struct Reread<C> {
    files: TlsFiles,
    protocols: &'static [&'static str],
    make: Make<C>,
    current: ArcSwap<(Contents, Arc<C>)>,
}

impl<C> Reread<C> {
    pub(super) fn load(
        files: TlsFiles,
        protocols: &'static [&'static str],
        make: Make<C>,
    ) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let made = make(&contents, &files, protocols)?;
        Ok(Self {
            files,
            protocols,
            make,
            current: ArcSwap::from_pointee((contents, made)),
        })
    }

    /// Reads the files again; `true` where something in them is new. After an error what was there before stays.
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if contents == self.current.load().0 {
            return Ok(false);
        }
        let made = (self.make)(&contents, &self.files, self.protocols)?;
        self.current.store(Arc::new((contents, made)));
        Ok(true)
    }

    /// As last made.
    pub(super) fn current(&self) -> Arc<C> {
        Arc::clone(&self.current.load().1)
    }
}
