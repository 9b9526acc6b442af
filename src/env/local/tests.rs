use super::*;

fn entry(port: u16) -> LocalEntry {
    LocalEntry {
        domain: Domain::parse("bob.local").unwrap(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        certificate_sha256: std::array::from_fn(|i| i as u8 * 7),
        txt: [("ats._atp.bob.local".to_owned(), "v=atp1 allow=ip:127.0.0.1 deny=all".to_owned())].into(),
    }
}

fn bob() -> Domain {
    entry(1).domain
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_running_server_is_found_with_everything_it_published() {
    let home = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(home.path());
    assert_eq!(directory.read(&bob()), Ok(None));
    let _published = directory.publish(entry(7444)).unwrap();
    assert_eq!(directory.read(&bob()), Ok(Some(entry(7444))));
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(home.path().join("local")), 0o700);
    assert_eq!(mode(home.path().join("local/bob.local.toml")), 0o600);
}

#[test]
fn a_stopped_server_is_down_until_it_is_started_again_on_another_port() {
    let home = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(home.path());
    drop(directory.publish(entry(7444)).unwrap());
    assert_eq!(directory.read(&bob()), Err(DnsTrouble::LocalServerDown));
    let mut again = directory.publish(entry(7555)).unwrap();
    assert_eq!(directory.read(&bob()), Ok(Some(entry(7555))));
    again.replace(entry(7666)).unwrap();
    assert_eq!(directory.read(&bob()), Ok(Some(entry(7666))));
}

#[test]
fn a_second_server_of_the_same_domain_is_told_so_and_harms_nothing() {
    let home = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(home.path());
    let _first = directory.publish(entry(7444)).unwrap();
    let error = directory.publish(entry(7555)).unwrap_err().to_string();
    assert!(error.starts_with("another server is already running for bob.local"), "{error}");
    assert_eq!(directory.read(&bob()), Ok(Some(entry(7444))));
}

#[test]
fn only_special_use_names_on_loopback_are_published() {
    let home = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(home.path());
    let public = LocalEntry { domain: Domain::parse("example.com").unwrap(), ..entry(1) };
    assert!(matches!(directory.publish(public), Err(LocalError::NotSpecialUse(_))));
    let abroad = LocalEntry { address: "192.0.2.1:7443".parse().unwrap(), ..entry(1) };
    assert!(matches!(directory.publish(abroad), Err(LocalError::NotLoopback(_))));
    assert_eq!(directory.read(&Domain::parse("example.com").unwrap()), Ok(None));
}

#[test]
fn an_entry_others_could_have_written_is_ignored() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil); 4] = [
        ("writable by the group", |path| chmod(path, 0o620)),
        ("writable by all", |path| chmod(path, 0o602)),
        ("a link", |path| {
            let real = path.with_extension("real");
            fs::rename(path, &real).unwrap();
            std::os::unix::fs::symlink(real, path).unwrap();
        }),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (case, spoil) in cases {
        let home = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(home.path());
        let _published = directory.publish(entry(7444)).unwrap();
        spoil(&directory.path(&bob()));
        assert_eq!(directory.read(&bob()), Ok(None), "{case}");
    }
}

#[test]
fn an_entry_of_another_user_is_ignored() {
    const NOBODY: u32 = 65_534;
    let home = tempfile::tempdir().unwrap();
    let directory = LocalDirectory::new(home.path());
    let _published = directory.publish(entry(7444)).unwrap();
    // Only root can give files away; elsewhere there is nothing to try.
    if std::os::unix::fs::chown(directory.path(&bob()), Some(NOBODY), None).is_ok() {
        assert_eq!(directory.read(&bob()), Ok(None));
    }
}

#[test]
fn looking_never_writes_through_a_link() {
    let home = tempfile::tempdir().unwrap();
    let _published = LocalDirectory::new(home.path()).publish(entry(7444)).unwrap();
    let precious = home.path().join("precious");
    fs::write(&precious, "kept").unwrap();
    let thread = std::thread::current().id();
    let probe = home.path().join(format!("local/.probe.{}.{thread:?}", std::process::id()));
    std::os::unix::fs::symlink(&precious, &probe).unwrap();
    assert_eq!(LocalDirectory::new(home.path()).read(&bob()), Ok(Some(entry(7444))));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
}

#[test]
fn an_entry_for_elsewhere_is_ignored_and_a_broken_one_is_trouble() {
    let text = render(&entry(7444)).unwrap();
    for (case, text, want) in [
        ("off loopback", text.replace("127.0.0.1:", "192.0.2.1:"), Ok(None)),
        ("another domain", text.replace("\"bob.local\"", "\"eve.local\""), Ok(None)),
        ("not TOML", "domain".to_owned(), Err(DnsTrouble::Unusable)),
        (
            "short pin",
            text.replace("certificate_sha256 = \"00", "certificate_sha256 = \""),
            Err(DnsTrouble::Unusable),
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(home.path());
        let _published = directory.publish(entry(7444)).unwrap();
        fs::write(directory.path(&bob()), text).unwrap();
        assert_eq!(directory.read(&bob()), want, "{case}");
    }
}
