//! Which instructions the kernels use: chosen once, and without a trace in the results.

use std::fmt;
use std::sync::OnceLock;

/// What a processor can do, as far as the kernels care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of this architecture has.
    Portable,
    /// AVX2 and FMA: 256 bits at once. With F16C and POPCNT, which all such processors have.
    Avx2,
    /// The same, with products of bytes (AVX-VNNI).
    AvxVnni,
    /// AVX-512 with VNNI: 512 bits at once.
    Avx512,
}

impl Level {
    /// All of them, the slowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::AvxVnni, Self::Avx512];

    /// The best that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::ALL.into_iter().rev().find(|level| level.is_here()).unwrap_or(Self::Portable))
    }

    /// Whether this processor has it.
    #[cfg(target_arch = "x86_64")]
    pub fn is_here(self) -> bool {
        let has_avx2 = || {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("popcnt")
        };
        match self {
            Self::Portable => true,
            Self::Avx2 => has_avx2(),
            Self::AvxVnni => has_avx2() && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => {
                has_avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    /// Whether this processor has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_here(self) -> bool {
        self == Self::Portable
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx512-vnni",
        })
    }
}

/// Makes `$name(level, arguments..)`, which runs the body compiled for the level's instructions.
macro_rules! dispatched {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name(level: $crate::Level, $($argument: $type),*) $(-> $output)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::tile::{Avx2, Avx512, AvxVnni};
                #[target_feature(enable = "avx2,fma,f16c,popcnt")]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    $body::<Avx2>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,popcnt,avxvnni")]
                fn avx_vnni($($argument: $type),*) $(-> $output)? {
                    $body::<AvxVnni>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,popcnt,avx512f,avx512bw,avx512vl,avx512vnni")]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    $body::<Avx512>($($argument),*)
                }
                assert!(level.is_here(), "this processor has no {level}");
                // SAFETY: the processor has the instructions, as was just checked.
                #[allow(unsafe_code)]
                match level {
                    $crate::Level::Portable => {}
                    $crate::Level::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::Level::AvxVnni => return unsafe { avx_vnni($($argument),*) },
                    $crate::Level::Avx512 => return unsafe { avx512($($argument),*) },
                }
            }
            let _ = level;
            $body::<$crate::tile::Portable>($($argument),*)
        }
    };
}
pub(super) use dispatched;
