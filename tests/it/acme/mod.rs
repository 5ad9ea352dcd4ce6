//! Certificates that CAs issue by ACME, kept by the running program.

mod attacks;
mod authority;
mod hostile;
mod identities;
mod issuing;
mod load;
mod openbao;
mod owners;
mod refusals;
mod renewal;
mod words;
mod zones;
