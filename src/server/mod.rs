//! The doors: HTTP over TLS for agents and peers, and the operator's socket.
//!
//! - [`listen`]: accepts connections, bounded, until told to stop; then drains each `connection`
//! - [`tls`]: the certificates shown, and their files watched
//! - [`routes`]: paths to calls ([`message`], [`inbox`], [`stream`], [`claims`], [`webhook`], [`inspect`], [`register`],
//!   [`me`], [`about`], [`admin`])
//! - [`control`]: the same calls and the operator's own ([`queue`], [`destinations`], [`certificate`]) over a Unix socket
//! - [`observer`]: the same over plain HTTP on the admin listener, with [`metrics`], to whoever has a token
//! - [`overview`]: what is well and what is not; [`sample`]: the figures for both
//! - [`credential`]: which agent asks, and what its credential is good for
//! - [`openapi`]: the description of the public ones, made from them
//! - [`body`] reads requests within bounds, [`answer`] turns a [`Fault`](crate::error::Fault) into a response

pub mod about;
pub mod admin;
pub mod answer;
pub mod body;
mod caller;
pub mod certificate;
pub mod claims;
pub mod configuration;
pub(crate) mod connection;
pub mod control;
pub mod credential;
pub mod custody;
pub mod destinations;
pub mod exchange;
pub mod host;
pub mod inbox;
pub mod inspect;
pub mod keep;
pub mod keeping;
mod life;
pub mod listen;
pub mod me;
mod members;
pub mod message;
pub mod metrics;
pub mod observer;
pub mod openapi;
pub mod overview;
pub mod queue;
mod reader;
pub mod ready;
pub mod register;
pub mod reload;
pub mod routes;
pub mod sample;
pub mod sending;
pub mod state;
pub mod stats;
pub mod stream;
pub mod tls;
mod unread;
pub mod webhook;
