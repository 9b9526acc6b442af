use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::AcmeChoice;
use super::owner::Owner;
use super::questions;
use super::site::Site;
use super::step::Step;
use crate::cli::error::CliError;
use crate::config::{self, Config, Overrides};
use crate::env::whole;
use crate::proto::address::Domain;

/// What the file that comes with a package has where the domain belongs.
const PLACEHOLDER: &str = "example.com";
/// What a new file begins with.
const HEAD: &str = "\
# The configuration of this mail server. Every key that is not here has its default:
# `atp config show --effective` prints them all.
domains = []
";
/// Largest file that is read, in bytes: the server takes none that is larger.
const MAX_BYTES: u64 = 1024 * 1024;
/// Mode of a file that is not there yet: the service's user has to read it, and others a token in it must not.
const MODE: u32 = 0o640;

/// Writes what the site needs into the configuration; what is right in it stays as it is.
pub(super) fn write(site: &Site) -> Result<Vec<Step>, CliError> {
    let path = site.config.as_path();
    let before = match whole::read_text(path, MAX_BYTES) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(CliError::failed(format!("cannot read {}: {error}", path.display()))),
    };
    let after = adapted(before.as_deref().unwrap_or(HEAD), site).map_err(|why| {
        CliError::failed(format!("{} cannot be changed: {why}; mend it first", path.display()))
    })?;
    let what = format!("configuration: {}", path.display());
    if before.as_deref() == Some(after.as_str()) {
        load(path)?;
        return Ok(vec![Step::kept(what)]);
    }
    replace(path, &after, site.owner.as_ref().and_then(Owner::group))?;
    Ok(vec![if before.is_some() { Step::changed(what) } else { Step::made(what) }])
}

/// The port that the file says. `None`: it says none, or cannot be read, which is told when it is written.
pub(super) fn port(path: &Path) -> Option<u16> {
    let file: DocumentMut = whole::read_text(path, MAX_BYTES).ok()?.parse().ok()?;
    let port = file.get("server")?.get("port")?.as_integer()?;
    u16::try_from(port).ok()
}

/// The configuration as it is now.
pub(super) fn load(path: &Path) -> Result<Config, CliError> {
    Ok(config::load(Some(path), Overrides::default())?)
}

/// The text with what the site needs.
fn adapted(text: &str, site: &Site) -> Result<String, String> {
    let mut file: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| one_line(&error.to_string()))?;
    let first = domains(&mut file, site)?;
    if site.port_given {
        set(section(&mut file, "server")?, "port", i64::from(site.port));
    }
    if let Some(files) = &site.certificate {
        let of = if first {
            section(&mut file, "server")?
        } else {
            let all =
                file.entry("domain").or_insert_with(implicit).as_table_mut().ok_or("`domain` is no table")?;
            all.entry(site.domain.as_str())
                .or_insert_with(toml_edit::table)
                .as_table_mut()
                .ok_or("no table")?
        };
        set(of, "cert", files.chain.display().to_string());
        set(of, "key", files.key.display().to_string());
    }
    let does_without =
        site.domain.is_special_use() || site.acme.as_ref().is_some_and(|acme| acme.choice != AcmeChoice::Off);
    if site.certificate.is_none() && does_without && file.contains_table("server") {
        forget_absent_pair(section(&mut file, "server")?, &site.config);
    }
    if let Some(acme) = &site.acme {
        let of = section(&mut file, "acme")?;
        let challenge = match acme.choice {
            AcmeChoice::Off => "off",
            AcmeChoice::Http => "http-01",
            AcmeChoice::Dns => "dns-01",
        };
        set(of, "challenge", challenge);
        if acme.agree_to_terms {
            set(of, "agree_to_terms", true);
        }
        if let Some(email) = &acme.email {
            set(of, "email", email.as_str());
        }
        if let Some(hook) = &acme.hook {
            set(of, "hook", hook.display().to_string());
        }
    }
    name_host(&mut file, site)?;
    Ok(file.to_string())
}

/// Adds the domain. `true`: it is the first.
fn domains(file: &mut DocumentMut, site: &Site) -> Result<bool, String> {
    let domains = file.entry("domains").or_insert_with(|| value(Array::new()));
    let domains = domains.as_array_mut().ok_or("`domains` is no list")?;
    let is = |entry: &toml_edit::Value, name: &str| {
        entry.as_str().is_some_and(|text| text.eq_ignore_ascii_case(name))
    };
    if domains.len() == 1
        && domains.iter().all(|entry| is(entry, PLACEHOLDER))
        && site.domain.as_str() != PLACEHOLDER
    {
        domains.clear();
    }
    if !domains.iter().any(|entry| is(entry, site.domain.as_str())) {
        domains.push(site.domain.as_str());
    }
    Ok(domains.get(0).is_some_and(|entry| is(entry, site.domain.as_str())))
}

/// Takes out a certificate that is only named: the file that comes with a package does that.
fn forget_absent_pair(server: &mut Table, config: &Path) {
    let chain = server.get("cert").and_then(Item::as_str);
    let is_absent = |chain: &str| config.parent().is_some_and(|directory| !directory.join(chain).exists());
    if chain.is_some_and(is_absent) {
        server.remove("cert");
        server.remove("key");
    }
}

/// Has certificates asked for this host too. As long as no host is named they are for `atp.<domain>` of each domain, so
/// with the first that is, those of the other domains have to be.
fn name_host(file: &mut DocumentMut, site: &Site) -> Result<(), String> {
    let usual = |domain: &Domain| domain.default_target().map(|target| target.to_string());
    let others: Vec<String> = file
        .get("domains")
        .and_then(Item::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| Domain::parse(entry.as_str()?).ok())
        .filter(|domain| *domain != site.domain)
        .filter_map(|domain| usual(&domain))
        .collect();
    let Some(acme) = file.get_mut("acme").and_then(Item::as_table_mut) else { return Ok(()) };
    if acme.get("challenge").and_then(Item::as_str).is_none_or(|challenge| challenge == "off") {
        return Ok(());
    }
    let names = acme.entry("names").or_insert_with(|| value(Array::new()));
    let names = names.as_array_mut().ok_or("`acme.names` is no list")?;
    // What no authority gives a certificate for would have it refuse the others with it.
    names.retain(|name| name.as_str().is_none_or(|name| questions::host_name(name).is_ok()));
    if names.is_empty() {
        if usual(&site.domain).as_deref() == Some(site.target.as_str()) {
            acme.remove("names");
            return Ok(());
        }
        names.extend(others);
    }
    if !names.iter().any(|entry| entry.as_str() == Some(site.target.as_str())) {
        names.push(site.target.as_str());
    }
    Ok(())
}

/// Host names of the domain for which certificates are asked, although it is not the one that is set up: no certificate
/// comes before records lead there too.
pub(super) fn other_names(site: &Site, config: &Config) -> Vec<String> {
    let names = config.acme.iter().flat_map(|acme| &acme.names);
    let usual: Vec<_> = config.domains().iter().filter(|domain| **domain != site.domain).collect();
    let is_of_another =
        |name: &Domain| usual.iter().any(|domain| domain.default_target().as_ref() == Some(name));
    let is_below = |name: &Domain| name.as_str().ends_with(&format!(".{}", site.domain));
    let others = names.filter(|name| **name != site.target && is_below(name) && !is_of_another(name));
    others.map(ToString::to_string).collect()
}

fn section<'a>(file: &'a mut DocumentMut, name: &str) -> Result<&'a mut Table, String> {
    let section = file.entry(name).or_insert_with(toml_edit::table);
    section.as_table_mut().ok_or_else(|| format!("`{name}` is no table"))
}

/// A table that has no header of its own.
fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// Sets a key unless it has that value.
fn set(table: &mut Table, key: &str, wanted: impl Into<toml_edit::Value>) {
    let wanted = wanted.into();
    let same = |have: &toml_edit::Value| have.to_string().trim() == wanted.to_string().trim();
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(have) if same(have) => {}
        Some(have) => {
            // What stands behind it on its line stays there.
            let decor = have.decor().clone();
            *have = wanted;
            *have.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(wanted));
        }
    }
}

/// Puts the new text in place if it is a good configuration; else nothing changes. A file that was not there is also
/// for `group`.
fn replace(path: &Path, text: &str, group: Option<u32>) -> Result<(), CliError> {
    let refused = |error: io::Error| CliError::failed(format!("cannot write {}: {error}", path.display()));
    // A link stays one.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (named, path) = (path, real.as_path());
    let directory = path.parent().ok_or_else(|| CliError::usage("the configuration needs a file name"))?;
    fs::create_dir_all(directory).map_err(refused)?;
    let mut new = tempfile_in(directory, path)?;
    let written = (|| {
        use io::Write as _;
        new.1.write_all(text.as_bytes())?;
        let before = fs::metadata(path).ok();
        if let Some(before) = &before {
            // Whoever could read it must go on reading it; where that cannot be done, they are the same already.
            let _ = fchown(&new.1, Some(before.uid()), Some(before.gid()));
        } else if group.is_some() {
            fchown(&new.1, None, group)?;
        }
        let mode = before.map_or(MODE, |before| before.permissions().mode());
        new.1.set_permissions(Permissions::from_mode(mode))?;
        new.1.sync_all()
    })();
    let as_named = |mut error: CliError| {
        error.message = error.message.replace(&*new.0.to_string_lossy(), &named.to_string_lossy());
        error
    };
    let checked = written.map_err(refused).and_then(|()| load(&new.0).map(drop).map_err(as_named));
    let placed = checked.and_then(|()| fs::rename(&new.0, path).map_err(refused));
    if placed.is_err() {
        let _ = fs::remove_file(&new.0);
    }
    placed
}

fn tempfile_in(directory: &Path, path: &Path) -> Result<(std::path::PathBuf, fs::File), CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!(".{name}.new"));
    let _ = fs::remove_file(&new);
    // There may be a token in it.
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let file = file.map_err(|error| CliError::failed(format!("cannot write {}: {error}", new.display())))?;
    Ok((new, file))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
