//! The words of a stub, in the languages there are: numbers, sizes and dates as people write them there.
//! Proof: tests below.

use crate::time::Timestamp;

/// A language that stubs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// English, when nothing else is known.
    English,
    /// German.
    German,
    /// French.
    French,
    /// Spanish.
    Spanish,
}

impl Language {
    /// All, with their codes (RFC 5646).
    pub const ALL: [(&'static str, Language); 4] = [
        ("en", Language::English),
        ("de", Language::German),
        ("fr", Language::French),
        ("es", Language::Spanish),
    ];

    /// By a tag such as `de-AT`.
    pub fn of(tag: &str) -> Option<Language> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default().trim();
        Language::ALL
            .iter()
            .find(|(code, _)| primary.eq_ignore_ascii_case(code))
            .map(|(_, language)| *language)
    }

    /// Its code.
    pub fn code(self) -> &'static str {
        Language::ALL.iter().find(|(_, language)| *language == self).map_or("en", |(code, _)| code)
    }

    /// The stub's title: how many files there are.
    pub fn title(self, files: usize) -> String {
        match (self, files) {
            (Language::English, 1) => "1 file to download".to_owned(),
            (Language::English, n) => format!("{n} files to download"),
            (Language::German, 1) => "1 Datei zum Herunterladen".to_owned(),
            (Language::German, n) => format!("{n} Dateien zum Herunterladen"),
            (Language::French, 1) => "1 fichier à télécharger".to_owned(),
            (Language::French, n) => format!("{n} fichiers à télécharger"),
            (Language::Spanish, 1) => "1 archivo para descargar".to_owned(),
            (Language::Spanish, n) => format!("{n} archivos para descargar"),
        }
    }

    /// What stands on the button.
    pub fn download(self) -> &'static str {
        match self {
            Language::English => "Download",
            Language::German => "Herunterladen",
            Language::French => "Télécharger",
            Language::Spanish => "Descargar",
        }
    }

    /// Until when.
    pub fn until(self, day: &str) -> String {
        match self {
            Language::English => format!("Available until {day}"),
            Language::German => format!("Verfügbar bis {day}"),
            Language::French => format!("Disponible jusqu’au {day}"),
            Language::Spanish => format!("Disponible hasta el {day}"),
        }
    }

    /// A day (UTC), written out so that nobody takes the month for the day.
    pub fn day(self, at: Timestamp) -> String {
        let zoned = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = jiff::tz::Offset::UTC.to_datetime(zoned).date();
        let month = self.months()[usize::from(date.month().unsigned_abs()) - 1];
        let (day, year) = (date.day(), date.year());
        match self {
            Language::English => format!("{day} {month} {year}"),
            Language::German => format!("{day}. {month} {year}"),
            Language::French if day == 1 => format!("1er {month} {year}"),
            Language::French => format!("{day} {month} {year}"),
            Language::Spanish => format!("{day} de {month} de {year}"),
        }
    }

    fn months(self) -> [&'static str; 12] {
        match self {
            Language::English => [
                "January",
                "February",
                "March",
                "April",
                "May",
                "June",
                "July",
                "August",
                "September",
                "October",
                "November",
                "December",
            ],
            Language::German => [
                "Januar",
                "Februar",
                "März",
                "April",
                "Mai",
                "Juni",
                "Juli",
                "August",
                "September",
                "Oktober",
                "November",
                "Dezember",
            ],
            Language::French => [
                "janvier",
                "février",
                "mars",
                "avril",
                "mai",
                "juin",
                "juillet",
                "août",
                "septembre",
                "octobre",
                "novembre",
                "décembre",
            ],
            Language::Spanish => [
                "enero",
                "febrero",
                "marzo",
                "abril",
                "mayo",
                "junio",
                "julio",
                "agosto",
                "septiembre",
                "octubre",
                "noviembre",
                "diciembre",
            ],
        }
    }

    /// A size in decimal units, as disks and download pages count.
    pub fn size(self, octets: u64) -> String {
        let (kilo, mega, giga) = match self {
            Language::French => ("Ko", "Mo", "Go"),
            _ => ("kB", "MB", "GB"),
        };
        let (unit, name) = match octets {
            0..1_000 => {
                let name = match (self, octets) {
                    (Language::French, 0 | 1) => "octet",
                    (Language::French, _) => "octets",
                    (Language::German, _) => "Byte",
                    (_, 1) => "byte",
                    (_, _) => "bytes",
                };
                return format!("{octets} {name}");
            }
            1_000..1_000_000 => (1_000, kilo),
            1_000_000..1_000_000_000 => (1_000_000, mega),
            _ => (1_000_000_000, giga),
        };
        let tenths = octets / (unit / 10);
        let point = if self == Language::English { '.' } else { ',' };
        match tenths {
            0..1_000 => format!("{}{point}{} {name}", tenths / 10, tenths % 10),
            _ => format!("{} {name}", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_known_by_their_tags() {
        assert_eq!(Language::of("de-AT"), Some(Language::German));
        assert_eq!(Language::of("FR"), Some(Language::French));
        assert_eq!(Language::of("en_US"), Some(Language::English));
        assert_eq!(Language::of("den"), None);
        for (code, language) in Language::ALL {
            assert_eq!(language.code(), code);
        }
    }

    #[test]
    fn days_and_sizes_are_written_as_people_do() {
        let day = Timestamp(1_796_083_200_000_000);
        assert_eq!(Language::English.day(day), "1 December 2026");
        assert_eq!(Language::German.day(day), "1. Dezember 2026");
        assert_eq!(Language::French.day(day), "1er décembre 2026");
        assert_eq!(Language::Spanish.day(day), "1 de diciembre de 2026");
        assert_eq!(Language::English.size(999), "999 bytes");
        assert_eq!(Language::English.size(1_500), "1.5 kB");
        assert_eq!(Language::German.size(31_457_280), "31,4 MB");
        assert_eq!(Language::French.size(4_294_967_296), "4,2 Go");
        assert_eq!(Language::Spanish.size(150_000_000_000), "150 GB");
    }
}
