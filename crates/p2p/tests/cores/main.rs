//! The cores from outside: certificates, messages, what is fetched, what is answered.

mod certificates;
mod chain;
mod messages;
