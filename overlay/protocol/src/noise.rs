//! The one handshake message of a slot: `Noise_Xpsk0_25519_ChaChaPoly_BLAKE2s` through `snow`.
//!
//! The resolver replaces two things of snow's: Diffie-Hellman runs over x25519-dalek 3, refuses shared secrets of all zeros and erases its keys;
//! the ephemeral key comes from the caller's randomness, so that one seed gives one envelope. Hash and cipher are snow's own. Snow does not erase
//! its chaining key: handshake states live for one message only.

use rand_core::CryptoRng;
use snow::params::{CipherChoice, DHChoice, HashChoice, NoiseParams};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of the message: ephemeral key 32, sealed static key 48, sealed file key 48.
pub const MESSAGE_BYTES: usize = 128;

/// The suite's name.
const SUITE: &str = "Noise_Xpsk0_25519_ChaChaPoly_BLAKE2s";

/// Why a message could not be written or read; no more is told, by intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the handshake message does not hold")]
pub struct NoiseError;

/// What a message proves and carries.
pub struct Message {
    /// The sender's static public key.
    pub sender: [u8; 32],
    /// The payload.
    pub file_key: Zeroizing<[u8; 32]>,
}

/// The X25519 public key of a secret one.
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

/// Whether a Diffie-Hellman with this public key gives anything but zeros: false for the points of low order.
pub fn contributes(public: &[u8; 32]) -> bool {
    StaticSecret::from([0x55; 32]).diffie_hellman(&PublicKey::from(*public)).was_contributory()
}

/// Writes the message: proves `sender` (a secret key) to whoever holds the secret of `recipient` (a public key) and the `psk`, and carries `file_key`.
///
/// # Errors
/// [`NoiseError`] when `recipient` is a point of low order.
pub fn write(
    sender: &[u8; 32],
    recipient: &[u8; 32],
    psk: &[u8; 32],
    prologue: &[u8],
    file_key: &[u8; 32],
    rng: &mut impl CryptoRng,
) -> Result<[u8; MESSAGE_BYTES], NoiseError> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *ephemeral);
    let mut state = initiator(SUITE, sender, recipient, Some(psk), prologue, &ephemeral)?;
    let mut message = [0; MESSAGE_BYTES];
    match state.write_message(file_key, &mut message) {
        Ok(MESSAGE_BYTES) => Ok(message),
        _ => Err(NoiseError),
    }
}

/// Reads a message that was written to the public key of `recipient` (a secret key).
///
/// # Errors
/// [`NoiseError`] for any difference in keys, prologue or bytes.
pub fn read(recipient: &[u8; 32], psk: &[u8; 32], prologue: &[u8], message: &[u8; MESSAGE_BYTES]) -> Result<Message, NoiseError> {
    let mut state = responder(SUITE, recipient, Some(psk), prologue)?;
    let mut file_key = Zeroizing::new([0; 32]);
    // Snow wants room for the tag as well while it decrypts.
    let mut payload = Zeroizing::new([0; MESSAGE_BYTES]);
    if state.read_message(message, &mut *payload).map_err(|_| NoiseError)? != file_key.len() {
        return Err(NoiseError);
    }
    file_key.copy_from_slice(&payload[..32]);
    let sender = state.get_remote_static().and_then(|key| key.get(..32)).and_then(|key| key.try_into().ok()).ok_or(NoiseError)?;
    Ok(Message { sender, file_key })
}

fn builder<'a>(suite: &str, ephemeral: Option<&[u8; 32]>) -> Result<Builder<'a>, NoiseError> {
    let params: NoiseParams = suite.parse().map_err(|_| NoiseError)?;
    let resolver = Resolver { ephemeral: Zeroizing::new(ephemeral.copied().unwrap_or_default()), given: ephemeral.is_some() };
    Ok(Builder::with_resolver(params, Box::new(resolver)))
}

fn initiator(
    suite: &str,
    sender: &[u8; 32],
    recipient: &[u8; 32],
    psk: Option<&[u8; 32]>,
    prologue: &[u8],
    ephemeral: &[u8; 32],
) -> Result<HandshakeState, NoiseError> {
    let finish = || {
        let mut builder =
            builder(suite, Some(ephemeral))?.local_private_key(sender)?.remote_public_key(recipient)?.prologue(prologue)?;
        if let Some(psk) = psk {
            builder = builder.psk(0, psk)?;
        }
        builder.build_initiator()
    };
    finish().map_err(|_: snow::Error| NoiseError)
}

fn responder(suite: &str, recipient: &[u8; 32], psk: Option<&[u8; 32]>, prologue: &[u8]) -> Result<HandshakeState, NoiseError> {
    let finish = || {
        let mut builder = builder(suite, None)?.local_private_key(recipient)?.prologue(prologue)?;
        if let Some(psk) = psk {
            builder = builder.psk(0, psk)?;
        }
        builder.build_responder()
    };
    finish().map_err(|_: snow::Error| NoiseError)
}

impl From<NoiseError> for snow::Error {
    fn from(NoiseError: NoiseError) -> Self {
        snow::Error::Input
    }
}

struct Resolver {
    ephemeral: Zeroizing<[u8; 32]>,
    given: bool,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(self.given.then(|| self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        matches!(choice, DHChoice::Curve25519).then(|| Box::<X25519>::default() as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

/// Gives out its 32 bytes once; a second request is an error rather than a repeated key.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), snow::Error> {
        let bytes = self.0.take().ok_or(snow::Error::Rng)?;
        if dest.len() != bytes.len() {
            return Err(snow::Error::Rng);
        }
        dest.copy_from_slice(&*bytes);
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        // Every caller in this module passes 32 bytes.
        if let Ok(secret) = <[u8; 32]>::try_from(privkey) {
            *self.secret = secret;
            self.public = public_key(&secret);
        }
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut secret = [0; 32];
        rng.try_fill_bytes(&mut secret)?;
        self.set(&secret);
        secret.zeroize();
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        &*self.secret
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        // Snow hands over its longest-key buffer; the key is the first 32 bytes.
        let public: [u8; 32] = pubkey.get(..32).and_then(|key| key.try_into().ok()).ok_or(snow::Error::Dh)?;
        let shared = StaticSecret::from(*self.secret).diffie_hellman(&PublicKey::from(public));
        if !shared.was_contributory() {
            return Err(snow::Error::Dh);
        }
        out.get_mut(..32).ok_or(snow::Error::Dh)?.copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
