//! What the operator's calls have in common: the doors they are at, the tokens they need, and the refusals of both.

use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr};

use super::{ANY, OPERATOR, READ, Refusal, Refusals, WITH_CREDENTIAL, finish, name, operations};
use crate::server::observer::OPEN_PATHS;
use crate::server::routes::{self, Door};

/// What says, for each door that a call is at, who gets through it.
const DOORS: &str = "x-doors";

/// What goes before the calls.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "atp, for its operator",
        description = "What a server of ATP answers to its operator (docs/operating.md, \"The operator's API\"). \
            `x-doors` says of each call at which doors it is, and who gets through. \
            `control` is the control socket, where no token is needed, for the kernel says who calls: \
            `user` is root, the server's own user and, on the socket in the runtime directory, members of the group atp; \
            `owner` is root and the server's own user alone. \
            `listener` is the admin listener (admin.listen): `operator` is the operator's token, `read` the read-only one, \
            `near` whoever asks from this machine, without a token. \
            `public` is the public port: `anybody` needs no token, and what needs one answers 404 there where \
            admin.remote is false. The calls of agents, which the control socket takes as well, are in openapi.json.",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Refusal))
)]
struct Head;

/// Refusals where a token is wanted.
const WITH_TOKEN: [(&str, &str); 2] = [
    ("401", "No token, or a wrong one. Not on the control socket."),
    (
        "429",
        "Too many wrong tokens came from this address, or too many such calls are under way. Retry-After says when to come back.",
    ),
];
/// Refusals of calls that change something.
const CHANGING: [(&str, &str); 1] = [("403", "The read-only token is good for looking only.")];

/// The description of the operator's calls.
pub(super) fn document() -> OpenApi {
    let mut whole = Head::openapi();
    for (doors, calls) in routes::operators() {
        let (_, mut group) = calls.split_for_parts();
        for (path, item) in &mut group.paths.paths {
            for (method, operation) in operations(item) {
                name(operation, method, path);
                admission(operation, method, path, doors);
            }
        }
        whole.merge(group);
    }
    let bearer = |text| HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(text)).build();
    let schemes = [
        (OPERATOR, bearer("The operator's token (admin.token).")),
        (READ, bearer("The token that may look and change nothing (admin.read_token).")),
    ];
    let components = whole.components.get_or_insert_default();
    for (name, scheme) in schemes {
        components.security_schemes.insert(name.into(), RefOr::T(SecurityScheme::Http(scheme)));
    }
    whole
}

/// Says who gets through which door, and what whoever does not is told. As the observer and the callers' rules have it.
fn admission(operation: &mut Operation, method: &str, path: &str, doors: &[Door]) {
    let is_looking = method == "get";
    let is_near = OPEN_PATHS.contains(&path);
    let anybody = SecurityRequirement::default();
    let only = |token| SecurityRequirement::new(token, Vec::<String>::new());
    // What the handler says itself is stricter than the listener, and true of the public port.
    let said = operation.security.as_ref();
    let needs_none = said.is_none_or(|all| all.contains(&anybody));
    let may_look = is_looking && said.is_none_or(|all| all.contains(&only(READ)));
    let tokens = if may_look { &[OPERATOR, READ][..] } else { &[OPERATOR] };
    let mut told = Map::new();
    for door in doors {
        let (door, who) = match door {
            Door::Control if doors.len() == 1 => ("control", vec!["owner"]),
            Door::Control => ("control", vec!["user"]),
            Door::Listener if is_near => ("listener", [&["near"], tokens].concat()),
            Door::Listener => ("listener", tokens.to_vec()),
            Door::Public if needs_none => ("public", vec!["anybody"]),
            Door::Public => ("public", tokens.to_vec()),
        };
        told.insert(door.into(), json!(who));
    }
    let at = |door| doors.contains(&door);
    let mut tables: Vec<&Refusals> = vec![&ANY];
    if at(Door::Public) && operation.security.is_some() {
        tables.push(&WITH_CREDENTIAL);
    }
    if at(Door::Listener) {
        tables.push(&WITH_TOKEN);
        tables.push(if is_looking { &[] } else { &CHANGING });
    }
    let shown = tokens.iter().filter(|_| at(Door::Listener));
    let mut security: Vec<SecurityRequirement> = shown.map(|token| only(*token)).collect();
    if is_near || security.is_empty() || (at(Door::Public) && needs_none) {
        security.push(anybody);
    }
    operation.security = Some(security);
    operation.extensions = Some(Extensions::from_iter([(DOORS, Value::Object(told))]));
    finish(operation, &tables);
}
