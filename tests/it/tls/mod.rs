//! TLS towards clients and origins: hellos, handshakes, suites, sessions, staples, renewals.

mod any_protocol;
mod client_auth_resumption;
mod dialogue_corpus;
mod directories;
mod early_data;
mod fetched_staple;
mod hello;
mod hello_corpus;
mod hello_fragmentation;
mod negotiate;
mod origin_policy;
mod origin_sessions;
mod origin_tls;
mod pem_corpus;
mod pkcs12;
mod presented;
mod resumption_pairs;
mod rotation;
mod sessions;
mod staple;
mod suites;
mod system_store;
mod trust_corpora;
mod trust_files;
mod version_1;
mod wire_limits;
