//! Where a model runs: `cpu`, `cuda`, `cuda:0,1` or `auto`; and by which provider on a GPU.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Where an ONNX model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// NVIDIA GPUs; an error where there is none.
    Cuda(Gpus),
    /// The first GPU where there is one, otherwise the CPU, and the run says which.
    #[default]
    Auto,
}

/// What ONNX Runtime drives a GPU with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// CUDA: ONNX Runtime's own kernels.
    #[default]
    Cuda,
    /// TensorRT: a compiler for the GPU at hand, with CUDA for what it does not take.
    Tensorrt,
}

/// NVIDIA GPUs by their numbers, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gpus(u64);

/// The largest number that a GPU may have.
const LARGEST: u32 = u64::BITS - 1;

impl Gpus {
    /// GPU 0.
    pub const FIRST: Self = Self(1);

    /// Their numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..=LARGEST).filter(move |number| self.0 >> number & 1 == 1)
    }
}

impl Device {
    /// The GPUs that it stands for, if it runs on any.
    pub const fn gpus(self) -> Gpus {
        match self {
            Self::Cuda(gpus) => gpus,
            Self::Cpu | Self::Auto => Gpus::FIRST,
        }
    }
}

impl FromStr for Device {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(Gpus::FIRST)),
            "auto" => Ok(Self::Auto),
            _ => {
                let numbers = text.strip_prefix("cuda:").ok_or(())?.split(',');
                let mut gpus = 0;
                for number in numbers {
                    let number: u32 = number.trim().parse().map_err(|_| ())?;
                    let bit = 1u64.checked_shl(number).filter(|bit| gpus & bit == 0).ok_or(())?;
                    gpus |= bit;
                }
                Ok(Self::Cuda(Gpus(gpus)))
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(Gpus::FIRST) => f.write_str("cuda"),
            Self::Cuda(gpus) => {
                let numbers: Vec<String> = gpus.numbers().map(|number| number.to_string()).collect();
                write!(f, "cuda:{}", numbers.join(","))
            }
            Self::Auto => f.write_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DeviceVisitor;

        impl Visitor<'_> for DeviceVisitor {
            type Value = Device;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"cpu\", \"cuda\", \"cuda:0,1\" or \"auto\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Device, E> {
                text.parse().map_err(|()| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(DeviceVisitor)
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where an ONNX model runs: the CPU, NVIDIA GPUs by their numbers (`\"cuda\"` is the first one), or a GPU \
                            where there is one and otherwise the CPU.",
            "type": "string",
            "pattern": r"^(cpu|cuda|auto|cuda:[0-9]{1,2}(,[0-9]{1,2})*)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_written_alike() {
        for text in ["cpu", "auto", "cuda", "cuda:1", "cuda:0,1", "cuda:0,7,63"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        let two: Device = "cuda:3,1".parse().unwrap();
        assert_eq!(two.gpus().numbers().collect::<Vec<_>>(), [1, 3]);
        assert_eq!("cuda:0".parse(), Ok(Device::Cuda(Gpus::FIRST)));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:1,1", "cuda:64", "cuda:-1", "cuda0"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
