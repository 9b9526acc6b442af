//! Who calls on the control socket: the kernel says which user, the machine's name service which name and groups.

use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::UnixStream;

use super::state::Operator;

/// The group whose members may do what the operator may.
const GROUP: &str = "atp";
/// The superuser.
const ROOT: u32 = 0;

/// The operators' group of this machine. `None`: there is none.
pub(super) fn operators() -> Option<u32> {
    Group::from_name(GROUP).ok().flatten().map(|group| group.gid.as_raw())
}

/// The caller, if it is `owner` (our own user), root, or a member of `group`.
pub(super) async fn identify(stream: &UnixStream, owner: u32, group: Option<u32>) -> Option<Operator> {
    let credentials = match stream.peer_cred() {
        Ok(credentials) => credentials,
        Err(error) => {
            tracing::warn!(%error, "cannot tell who called on the control socket");
            return None;
        }
    };
    let (uid, gid) = (credentials.uid(), credentials.gid());
    // The name service may ask over the network.
    let found = tokio::task::spawn_blocking(move || {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let is_member = group.is_some_and(|group| gid == group || is_member(user.as_ref(), group));
        (user.map(|user| user.name), is_member)
    });
    let (name, is_member) = found.await.unwrap_or_default();
    if !may_call(uid, owner, is_member) {
        tracing::warn!(uid, name, "refused a caller on the control socket");
        return None;
    }
    Some(Operator::User { uid, name: name.map(Arc::from) })
}

fn may_call(uid: u32, owner: u32, is_member: bool) -> bool {
    uid == owner || uid == ROOT || is_member
}

/// Whether `group` is one of a user's: the caller's credentials name the primary one only.
fn is_member(user: Option<&User>, group: u32) -> bool {
    let Some(user) = user else { return false };
    let Ok(name) = std::ffi::CString::new(user.name.as_str()) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&Gid::from_raw(group)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_user_root_and_the_group_may_call() {
        assert!(may_call(0, 1000, false) && may_call(1000, 1000, false) && may_call(1001, 1000, true));
        assert!(!may_call(1001, 1000, false) && !may_call(65534, 1000, false));
    }

    /// Every Unix has the user root in its own group.
    #[test]
    fn groups_are_looked_up() {
        let root = User::from_uid(Uid::from_raw(0)).unwrap();
        let own = root.as_ref().map_or(0, |root| root.gid.as_raw());
        assert!(is_member(root.as_ref(), own));
        assert!(!is_member(root.as_ref(), u32::MAX - 7));
        assert!(!is_member(None, own));
    }

    #[tokio::test]
    async fn the_caller_is_named() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let owner = ours.peer_cred().unwrap().uid();
        let operator = identify(&ours, owner, None).await.unwrap();
        assert!(operator.to_string().starts_with(&format!("uid {owner}")), "{operator}");
        if owner != ROOT {
            assert!(identify(&ours, owner + 1, None).await.is_none());
        }
    }
}
