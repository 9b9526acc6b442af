#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| atp_fuzz::webhook_url(data));
