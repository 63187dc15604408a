//! Identifiers that are BLAKE3 hashes: of a layer's manifest, of a stack, of a file's contents.
//!
//! Not for random names: those are in `layout`.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Displays as 64 lower-case hexadecimal digits and parses from exactly that.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id that these bytes are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes of the hash.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<blake3::Hash> for $name {
            fn from(hash: blake3::Hash) -> Self {
                Self(hash.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(blake3::Hash::from_bytes(self.0).to_hex().as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:.12})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let bytes = value.as_blob()?;
                let bytes = bytes.try_into().map_err(|_| FromSqlError::InvalidBlobSize {
                    expected_size: 32,
                    blob_size: bytes.len(),
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

hash_id! {
    /// Names a layer: the hash of its manifest's canonical encoding.
    LayerId
}

hash_id! {
    /// Names a stack: the hash of its layers' ids in order.
    StackId
}

hash_id! {
    /// The hash of a file's contents.
    ContentHash
}

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct ParseIdError;

fn parse(text: &str) -> Result<[u8; 32], ParseIdError> {
    // One id has one text: upper case would give a layer two directory names.
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ParseIdError);
    }
    blake3::Hash::from_hex(text)
        .map(Into::into)
        .map_err(|_| ParseIdError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_parses_from_its_own_display_only() {
        let id = LayerId::from(blake3::hash(b"x"));
        let text = id.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse::<LayerId>(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<LayerId>(), Err(ParseIdError));
        assert_eq!(text[..63].parse::<LayerId>(), Err(ParseIdError));
        assert_eq!("../../x".parse::<LayerId>(), Err(ParseIdError));
    }

    #[test]
    fn debug_is_short() {
        let id = LayerId::from_bytes([0xab; 32]);
        assert_eq!(format!("{id:?}"), "LayerId(abababababab)");
    }

    #[test]
    fn json_holds_the_hexadecimal_text() {
        let id = StackId::from_bytes([1; 32]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<StackId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<StackId>("\"zz\"").is_err());
    }
}
