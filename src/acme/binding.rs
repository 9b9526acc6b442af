//! The key by which an authority knows its customer (external account binding, RFC 8555 §7.3.4).

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::config::private;

/// Reads a key file, which nobody else may read.
///
/// # Errors
/// One line naming the file.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let bytes = Zeroizing::new(private::read(path).map_err(|error| error.to_string())?);
    let text = bytes.trim_ascii();
    // Some authorities pad it, all of them mean the same.
    let length = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.get(..length).unwrap_or_default()).map(Zeroizing::new);
    key.ok().filter(|key| !key.is_empty()).ok_or_else(|| {
        format!("{} is no key in base64url; put the one there that the authority gave you", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_authorities_write_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eab.key");
        for (written, wanted) in
            [("zWNDZM6eQGHWpSRTPal5", Some(15)), ("_-8=\n", Some(2)), ("", None), ("=", None), ("a b", None)]
        {
            private::write(&path, written.as_bytes()).unwrap();
            assert_eq!(read(&path).ok().map(|key| key.len()), wanted, "{written:?}");
        }
        assert!(read(&path).err().unwrap().contains("eab.key is no key"));
    }
}
