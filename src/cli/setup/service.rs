use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::site::Site;
use super::step::Step;
use super::{configuration, remaining};
use crate::cli::error::CliError;
use crate::config::Config;
use crate::config::checked::Challenge;
use crate::config::service::{CONFIG, STATE};

/// The units by name.
const UNITS: [(&str, &str); 3] = [
    ("atp.service", include_str!("../../../systemd/atp.service")),
    ("atp.socket", include_str!("../../../systemd/atp.socket")),
    ("atp-acme.socket", include_str!("../../../systemd/atp-acme.socket")),
];
/// What they name, and what may be elsewhere here.
const PROGRAM: &str = "=atp ";
const USER: &str = "User=atp\n";
const PORT: &str = "]:7443\n";
/// The socket of port 80, and where it is enabled.
const HTTP_SOCKET: &str = "atp-acme.socket";
const WANTS: &str = "atp.service.wants";
/// Where packages put units.
const OF_PACKAGES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Writes the units, unless a package has brought them or there is no systemd.
pub(super) fn write(site: &Site) -> Result<Vec<Step>, CliError> {
    let Some(directory) = &site.units else {
        return Ok(vec![Step::skipped("systemd units: systemd does not run here, or you are not root")]);
    };
    let packaged = OF_PACKAGES.iter().map(|path| Path::new(path).join(UNITS[0].0));
    if let Some(packaged) = packaged.into_iter().find(|path| path.exists()) {
        return Ok(vec![Step::kept(format!("systemd units: {}", packaged.display()))]);
    }
    if site.home.root() != Path::new(STATE) {
        let why =
            format!("systemd units: they keep the state in {STATE}; with another --state-dir write your own");
        return Ok(vec![Step::skipped(why)]);
    }
    let program = std::env::current_exe()
        .map_err(|error| CliError::failed(format!("cannot tell where this program is: {error}")))?;
    UNITS.iter().map(|(name, text)| unit(&directory.join(name), &fitting(text, &program, site))).collect()
}

/// Whether there are units, of this site's or a package's.
pub(super) fn is_there(site: &Site) -> bool {
    let directories = OF_PACKAGES.iter().map(Path::new).chain(site.units.as_deref());
    site.units.is_some() && directories.into_iter().any(|directory| directory.join(UNITS[0].0).exists())
}

/// Has systemd open port 80 at each start of the server, as `systemctl enable atp-acme.socket` does, if certificates are
/// asked for over it.
pub(super) fn enable_http(site: &Site) -> Result<Vec<Step>, CliError> {
    let config = configuration::load(&site.config)?;
    let Some(directory) = site.units.as_deref().filter(|_| remaining::asks_over_http(&config)) else {
        return Ok(Vec::new());
    };
    let units = OF_PACKAGES.iter().map(Path::new).chain([directory]);
    let unit = units.map(|units| units.join(HTTP_SOCKET)).find(|unit| unit.exists());
    let Some(unit) = unit.filter(|_| !listens_itself(&config)) else { return Ok(Vec::new()) };
    let wants = directory.join(WANTS);
    let link = wants.join(HTTP_SOCKET);
    let made = fs::symlink_metadata(&link).is_err();
    if made {
        let refused =
            |error| CliError::failed(format!("cannot enable {HTTP_SOCKET} ({}): {error}", link.display()));
        fs::create_dir_all(&wants).and_then(|()| symlink(&unit, &link)).map_err(refused)?;
    }
    Ok(vec![Step::file(made, "port 80 for the authority is enabled", &link)])
}

/// Whether the server opens the port itself.
fn listens_itself(config: &Config) -> bool {
    config.acme.as_ref().is_some_and(|acme| matches!(acme.challenge, Challenge::Http(Some(_))))
}

/// Whether systemd holds port 80 for the server at this moment.
pub(super) fn holds_http() -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", HTTP_SOCKET]).status();
    asked.is_ok_and(|status| status.success())
}

/// The unit's text for this site.
fn fitting(text: &str, program: &Path, site: &Site) -> String {
    let user = site.owner.as_ref().map_or("atp", |owner| owner.name());
    text.replace(PROGRAM, &format!("={} ", program.display()))
        .replace(CONFIG, &site.config.display().to_string())
        .replace(USER, &format!("User={user}\n"))
        .replace(PORT, &format!("]:{}\n", site.port))
}

fn unit(path: &Path, text: &str) -> Result<Step, CliError> {
    let what = format!("systemd unit: {}", path.display());
    match fs::read_to_string(path) {
        Ok(have) if have == text => Ok(Step::kept(what)),
        Ok(_) => Ok(Step::kept(format!(
            "{what} (it differs from the one of this version; remove it to have that)"
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(path, text)
                .map_err(|error| CliError::failed(format!("cannot write {}: {error}", path.display())))?;
            Ok(Step::made(what))
        }
        Err(error) => Err(CliError::failed(format!("cannot read {}: {error}", path.display()))),
    }
}
