//! From hickory's records to ours.

use hickory_resolver::proto::rr::rdata::svcb::{SVCB, SvcParamValue};
use hickory_resolver::proto::rr::{Name, RData};

use super::Record;
use crate::proto::svcb::{Svcb, key};

/// The record with its data decoded; `None` for types ATP does not ask for.
pub(super) fn to_record(data: &RData, owner: &Name) -> Option<Record> {
    Some(match data {
        RData::A(address) => Record::A(address.0),
        RData::AAAA(address) => Record::Aaaa(address.0),
        RData::TXT(text) => Record::Txt(text.txt_data.concat()),
        RData::SRV(srv) => Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: host(&srv.target),
        },
        RData::CNAME(target) => Record::Cname(host(&target.0)),
        RData::SVCB(svcb) => Record::Svcb(to_svcb(svcb, owner)),
        _ => return None,
    })
}

fn to_svcb(record: &SVCB, owner: &Name) -> Svcb {
    // In ServiceMode "." is the owner name (RFC 9460 §2.5.2). Behind a CNAME that is not the name asked
    // for, and only here is it still known.
    let target = match record.target_name.is_root() && record.svc_priority > 0 {
        true => host(owner),
        false => host(&record.target_name),
    };
    let mut svcb = Svcb { priority: record.svc_priority, target, ..Svcb::default() };
    for (number, value) in &record.svc_params {
        svcb.present.push((*number).into());
        match value {
            SvcParamValue::Mandatory(keys) => {
                svcb.mandatory = keys.0.iter().map(|key| (*key).into()).collect()
            }
            SvcParamValue::Alpn(names) => {
                svcb.alpn = Some(names.0.iter().map(|name| name.clone().into_bytes()).collect());
            }
            SvcParamValue::Port(port) => svcb.port = Some(*port),
            SvcParamValue::Ipv4Hint(hints) => svcb.ipv4_hints = hints.0.iter().map(|a| a.0).collect(),
            SvcParamValue::Ipv6Hint(hints) => svcb.ipv6_hints = hints.0.iter().map(|a| a.0).collect(),
            SvcParamValue::Unknown(value) if u16::from(*number) == key::CAPABILITIES => {
                svcb.capabilities = Some(value.0.clone());
            }
            SvcParamValue::NoDefaultAlpn => {}
            _ => svcb.other_keys.push((*number).into()),
        }
    }
    svcb
}

/// Lower-cased, without trailing dot; empty for the root.
pub(super) fn host(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}
