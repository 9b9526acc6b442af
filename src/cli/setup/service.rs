use std::fs;
use std::io;
use std::path::Path;

use super::site::Site;
use super::step::Step;
use crate::cli::error::CliError;

/// The units, and what the service's names as program, configuration and user.
const SERVICE: (&str, &str) = ("atp.service", include_str!("../../../systemd/atp.service"));
const PROGRAM: &str = "/usr/local/bin/atp";
const CONFIG: &str = "/etc/atp/atp.toml";
const STATE: &str = "/var/lib/atp";
/// Where packages put units.
const OF_PACKAGES: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// Writes the units, unless a package has brought them or there is no systemd.
pub(super) fn write(site: &Site) -> Result<Vec<Step>, CliError> {
    let Some(directory) = &site.units else {
        return Ok(vec![Step::skipped("systemd unit: systemd does not run here, or you are not root")]);
    };
    if let Some(packaged) =
        OF_PACKAGES.iter().map(|path| Path::new(path).join(SERVICE.0)).find(|path| path.exists())
    {
        return Ok(vec![Step::kept(format!("systemd unit: {}", packaged.display()))]);
    }
    if site.home.root() != Path::new(STATE) {
        let why =
            format!("systemd unit: it keeps its state in {STATE}; with another --state-dir write your own");
        return Ok(vec![Step::skipped(why)]);
    }
    let program = std::env::current_exe()
        .map_err(|error| CliError::failed(format!("cannot tell where this program is: {error}")))?;
    let user = site.owner.as_ref().map_or("atp", |owner| owner.name());
    let unit = SERVICE
        .1
        .replace(PROGRAM, &program.display().to_string())
        .replace(CONFIG, &site.config.display().to_string())
        .replace("User=atp\n", &format!("User={user}\n"));
    let path = directory.join(SERVICE.0);
    let what = format!("systemd unit: {}", path.display());
    match fs::read_to_string(&path) {
        Ok(have) if have == unit => Ok(vec![Step::kept(what)]),
        Ok(_) => Ok(vec![Step::kept(format!(
            "{what} (it differs from the one of this version; remove it to have that)"
        ))]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, unit)
                .map_err(|error| CliError::failed(format!("cannot write {}: {error}", path.display())))?;
            Ok(vec![Step::made(what)])
        }
        Err(error) => Err(CliError::failed(format!("cannot read {}: {error}", path.display()))),
    }
}
