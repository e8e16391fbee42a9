//! Real forms of LaTeX in titles and abstracts, and what a reader should see.

use std::borrow::Cow;

use super::latex;

#[track_caller]
fn becomes(forms: &[(&str, &str)]) {
    for (text, clean) in forms {
        assert_eq!(latex(text), *clean, "{text}");
    }
}

#[test]
fn formulas_become_signs() {
    becomes(&[
        (r"$\Omega_\Lambda$ and {\alpha}", "ΩΛ and α"),
        (r"10$^{-3}$ at $10^{5}$ K, km s$^{-1}$ Mpc$^{-1}$", "10^-3 at 10^5 K, km s^-1 Mpc^-1"),
        (r"M$_{\odot}$ yr$^{-1}$ and $M_\odot$, M_{\sun}", "M⊙ yr^-1 and M⊙, M⊙"),
        (r"$\dot{G}/G$, $\bar\nu$, $\hat{x}$", "Ġ/G, ν\u{304}, x\u{302}"),
        (r"$H_2$O, $^{13}$CO, [$^{12}$C]", "H2O, 13CO, [12C]"),
        (r"$T_{\rm eff}$, $T_\mathrm{eff}$, $z_{\text{phot}}$, $M_{\rm BH}-\sigma$", "Teff, Teff, zphot, MBH-σ"),
        (r"$z\sim3$, $z \sim 3$, $\sim$5 Mpc, $1\pm 2$, $3 \times 10^{-4}$", "z~3, z ~ 3, ~5 Mpc, 1±2, 3 × 10^-4"),
        (r"$30^\circ$, $5^{\prime\prime}$, 0\farcs5, 5000\AA\ wide", "30°, 5′′, 0.″5, 5000Å wide"),
        (r"$1.5_{-0.2}^{+0.3}$ and $x^{n+1}$", "1.5_-0.2^+0.3 and x^(n+1)"),
        (r"$\frac{1}{2}$, $\frac{a+b}{c}$, $\sqrt{2}$, $\sqrt{a+b}$, ${a \over b}$", "1/2, (a+b)/c, √2, √(a+b), a/b"),
        (r"$\Lambda$CDM, $\Lambda\text{CDM}$, $\log g$, $2\log x$", "ΛCDM, ΛCDM, log g, 2 log x"),
        (r"$\left(x\right)$, \ion{O}{3}, \ion{Fe}{ii}", "(x), O III, Fe II"),
        (r"$\stackrel{<}{\sim} 1$", "≲ 1"),
        (r"PKS 0405$-$123, $0.85\pm0.2 $, 2$-$10 keV", "PKS 0405-123, 0.85±0.2 , 2-10 keV"),
        (r"$10^{ - 6}$, -0.27^{+ 0.39}_{- 0.38}, \Omega _k", "10^-6, -0.27^+0.39_-0.38, Ω_k"),
        (r"{HST}, {M}* of {10}8, {{cm}}-2, SiO{}_{{{x}}}", "HST, M* of 108, cm-2, SiOx"),
        (r"$\Delta m$, \(x_1\)", "Δm, x1"),
    ]);
}

#[test]
fn accents_stand_on_their_letters() {
    becomes(&[
        (r#"Fr\'ejus, Espa\~na, Schr\"odinger, M\'{e}xico, {\'e}"#, "Fréjus, España, Schrödinger, México, é"),
        (r#"S\~ao, \^{\i}le, Mart\'{\i}n, Mart\'\i n, \"{o}, \`a"#, "São, île, Martín, Martín, ö, à"),
        (
            r"Fran\c{c}ois, \v{C}erenkov, \v Cerenkov, Erd\H{o}s, {\AA}ngstr{\o}m",
            "François, Čerenkov, Čerenkov, Erdős, Ångstrøm",
        ),
    ]);
}

#[test]
fn fonts_are_not_seen() {
    becomes(&[
        (r"{\it Herschel} and \textit{Planck}, {\bf bold}, \emph{so}, \it{so}", "Herschel and Planck, bold, so, so"),
        (r"5\% of A\&A at \$5, a\_b", "5% of A&A at $5, a_b"),
        (r"10\,km, word\\ word", "10 km, word  word"),
        (r"H{\sc i}, [O{\sc iii}], \textsc{ii} and H{\small II}, N{\sc{v}}", "H I, [O III], II and H II, N V"),
        (r"the~$\Delta x$, $5$~kpc, z~3, $<~5$, C$^{6+}$, \~10", "the Δx, 5 kpc, z~3, <~5, C^6+, ~10"),
        (r"{\sc galfit}, \texttt{emcee}", "galfit, emcee"),
    ]);
}

#[test]
fn what_real_records_have_most() {
    becomes(&[
        (r"as shown \cite{a2010}, by \citet[p.~5]{b}. In~\citep{c}", "as shown, by. In"),
        ("Her~X-1 and Fig.~3, et~al., z~3, ~5 km", "Her X-1 and Fig. 3, et al., z~3, ~5 km"),
        ("a ``quoted $x^2$ word'' at 5'' and ``", "a “quoted x^2 word” at 5'' and ``"),
        (r"$\sqrt{n}m_P$, $\sqrt{2}\pi$, $\sqrt{2} \times 3$, $\sqrt{a+b}c$", "√(n)mP, √(2)π, √2 × 3, √(a+b)c"),
        (r"${\tilde m}^2$, $\bar{\nu}^{2}$", "m\u{303}^2, ν\u{304}^2"),
        (
            r#"Norstr\"{om}, Toru\' n, Saturn\' s, the stars\' age, \'{\i}"#,
            "Norström, Toruń, Saturn's, the stars' age, í",
        ),
        (r"b\^ \i le, {\not E}_T, $a \not= b$, $x \not\in y$", "bîle, E\u{338}_T, a ≠ b, x ∉ y"),
        (r"$10^{\phantom{0}5}$, cm\^-2, 10{M⊙}, 3 {km/s}, {a, b}", "10^5, cm^-2, 10M⊙, 3 km/s, {a, b}"),
    ]);
}

/// What a part is made of never reaches into what stands before it.
#[test]
fn parts_stand_by_themselves() {
    becomes(&[(r"a  \stackrel\over<b", "a  /<b"), (r"$x^\frac{a}{b}$", "x^(a/b)")]);
}

#[test]
fn what_is_not_known_stays() {
    for text in [
        r"\foo{bar} and \baz",
        r"sets {a, b}",
        "costs $5 million and $10 million",
        "US$5",
        "$5-$10 million",
        "US$16-54 trillion (10<SUP>12</SUP>), beside US$33 trillion",
        "{",
        "$",
        "\\",
        "$$",
        r"C:\new",
        r"\cite a2010",
        "z~3, M~10 and ~/x",
        "5'' and `so'",
        "x_1 and 10^5",
        "~5 km",
    ] {
        assert!(matches!(latex(text), Cow::Borrowed(same) if same == text), "{text}: {}", latex(text));
    }
}
