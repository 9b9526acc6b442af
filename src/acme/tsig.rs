//! The key of dynamic updates, as `tsig-keygen` writes it:
//!
//! ```text
//! key "acme" {
//!     algorithm hmac-sha256;
//!     secret "base64";
//! };
//! ```

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::config::private;

/// The only algorithm taken.
const ALGORITHM: &str = "hmac-sha256";

/// A key with the name the server knows it by.
pub(super) struct Key {
    pub name: String,
    pub secret: Zeroizing<Vec<u8>>,
}

/// Reads a key file, which nobody else may read.
///
/// # Errors
/// One line naming the file.
pub(super) fn read(path: &Path) -> Result<Key, String> {
    let bytes = Zeroizing::new(private::read(path).map_err(|error| error.to_string())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(path, "is not text"))?;
    parse(text).map_err(|why| wrong(path, why))
}

fn wrong(path: &Path, why: &str) -> String {
    format!("{} {why}; make one with: tsig-keygen -a {ALGORITHM} NAME", path.display())
}

fn parse(text: &str) -> Result<Key, &'static str> {
    const FORM: &str = "is no key as tsig-keygen writes it";
    let mut words = words(text).into_iter();
    let mut next = || words.next().ok_or(FORM);
    if next()? != "key" {
        return Err(FORM);
    }
    let name = next()?.to_owned();
    if next()? != "{" {
        return Err(FORM);
    }
    let (mut algorithm, mut secret) = (None, None);
    loop {
        match next()? {
            "algorithm" => algorithm = Some(next()?.to_ascii_lowercase()),
            "secret" => secret = Some(Zeroizing::new(next()?.to_owned())),
            ";" => {}
            "}" => break,
            _ => return Err(FORM),
        }
    }
    if algorithm.as_deref() != Some(ALGORITHM) {
        return Err("is not a key for hmac-sha256");
    }
    let secret = secret.and_then(|secret| BASE64_STANDARD.decode(secret.as_bytes()).ok());
    let secret = secret.filter(|secret| !secret.is_empty()).ok_or("has no secret in base64")?;
    Ok(Key { name, secret: Zeroizing::new(secret) })
}

/// Words, quoted texts without their quotes, and `{`, `}`, `;` each by itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = |found: Option<usize>| found.unwrap_or(rest.len());
        rest = match first {
            '#' => rest.get(end(rest.find('\n'))..).unwrap_or_default(),
            '/' if rest.starts_with("//") => rest.get(end(rest.find('\n'))..).unwrap_or_default(),
            '{' | '}' | ';' => {
                words.push(rest.get(..1).unwrap_or_default());
                rest.get(1..).unwrap_or_default()
            }
            '"' => {
                let quoted = rest.get(1..).unwrap_or_default();
                let (word, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                words.push(word);
                after
            }
            _ => {
                let length =
                    end(rest.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"')));
                words.push(rest.get(..length).unwrap_or_default());
                rest.get(length..).unwrap_or_default()
            }
        }
        .trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_tsig_keygen_writes_it() {
        let written = "key \"acme.example.com\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";
        let by_hand = "# for atp\nkey acme.example.com{ secret c2VjcmV0 ; algorithm HMAC-SHA256; }; // end";
        for text in [written, by_hand] {
            let key = parse(text).unwrap();
            assert_eq!((key.name.as_str(), key.secret.as_slice()), ("acme.example.com", &b"secret"[..]));
        }
        for (text, why) in [
            ("", "is no key"),
            ("key \"a\" {", "is no key"),
            ("zone \"a\" { secret \"x\"; };", "is no key"),
            ("key a { algorithm hmac-md5; secret \"c2VjcmV0\"; };", "hmac-sha256"),
            ("key a { algorithm hmac-sha256; secret \"!\"; };", "no secret"),
            ("key a { algorithm hmac-sha256; };", "no secret"),
            ("key a { algorithm hmac-sha256; secret \"c2Vj", "is no key"),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("acme.key");
        std::fs::write(&path, "key a { algorithm hmac-sha256; secret \"c2VjcmV0\"; };").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).err().unwrap().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path).is_ok());
    }
}
