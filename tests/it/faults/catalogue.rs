//! What the scripted EMDB has to get wrong: the fault catalogue, as a list that the tests must not fall behind.

/// Declares groups of entries, each with the words a person would use for it.
macro_rules! catalogue {
    ($($group:ident { $($entry:ident: $words:literal,)* })*) => {
        /// Which part of the exchange goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Group { $($group,)* }

        /// One thing that goes wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Entry { $($($entry,)*)* }

        impl Entry {
            /// Everything that is declared.
            pub(super) const ALL: &'static [Self] = &[$($(Self::$entry,)*)*];

            /// Its part.
            pub(super) fn group(self) -> Group {
                match self { $($(Self::$entry)|* => Group::$group,)* }
            }

            /// What happens.
            pub(super) fn words(self) -> &'static str {
                match self { $($(Self::$entry => $words,)*)* }
            }
        }
    };
}

catalogue! {
    Transport {
        Refused: "connections are refused",
        ResetAtByte: "the connection breaks at some byte, of a page or a file, or before the answer",
        Stall: "the answer stops in the middle and the connection stays",
        Trickle: "one byte at a time, for longer than any timeout",
        HalfClose: "the peer ends its direction and keeps ours open",
        TlsExpired: "the certificate has run out",
        DnsFlip: "the name leads to another machine",
        GzipMedia: "media come compressed although identity was asked for",
        Http10: "HTTP/1.0: neither chunks nor connections that stay",
        Proxy5xx: "502 and 504 of a proxy in front",
        ServerError500: "500 for an original, as EMDB says it to somebody it does not know",
        RedirectToLogin: "30x to a login page, which is 200 and HTML",
        Gone410: "410 with a body",
        TooMany: "429 without Retry-After",
        TooManyRetryAfter: "429 with Retry-After",
        Unavailable503: "a burst of 503",
        Unauthorised401: "401 from the middle of a run on",
        Forbidden403: "403 for one asset",
        NotFoundOnce: "404, and 200 when asked again",
        EmptyBody: "200 with nothing in it",
        NoLength: "no Content-Length",
        WrongLength: "a Content-Length that is not the body's",
        WrongContentRange: "206 whose Content-Range is not what was asked for, or is none",
        ChangedFile206: "206 of a file that is another one by now",
        WholeForRange: "200 with the whole file in answer to a range",
        RangeStartIgnored: "206 from the first byte although a later one was asked for",
    }
    Listing {
        PagesZero: "no page at all",
        PagesOne: "one page",
        PagesTwo: "exactly two pages, both full",
        PagesThree: "three pages",
        PagesMany: "a page for each record",
        TotalShrinks: "the total becomes smaller from page to page",
        TotalGrows: "the total becomes larger from page to page",
        DuplicatesAndGaps: "a page repeats records, so that others are missing",
        ScrollExpired: "the cursor expires between two pages",
        SessionLost: "the session of the cursor is lost between two pages",
        WindowDrift: "the window begins later than was asked for",
        StatusOk: "status ok",
        StatusEmpty: "status empty, though there are records",
        StatusError: "status error with HTTP 200",
        StatusMissing: "no status",
        NumbersAsText: "numbers as text",
        FilesMissing: "an asset's entry without its list of files",
        StatusNull: "records whose edit history is null",
        UnknownTable: "a table nobody knows, and one that cannot be",
        SameIdTwice: "one id in two tables",
        HugePage: "a page of 50 MB",
        TruncatedJson: "JSON that stops in the middle",
        InvalidUtf8: "bytes that are no UTF-8",
        CatalogInPath: "the catalog's id occurs inside a path",
        ParentPath: "a path with ..",
        AbsolutePath: "an absolute path",
        NulInPath: "a path with NUL",
        LongName: "a name of 300 bytes",
        UnicodePair: "two names that differ in their Unicode form alone",
        CasePair: "two names that differ in case alone",
        TrailingDotSpace: "names that end in a dot or a space",
        FileForFolder: "a file where a folder is needed",
        FolderForFile: "a folder where a file is needed",
    }
    State {
        ClockAhead: "the master's clock is 10 minutes ahead",
        ClockBehind: "the master's clock is 10 minutes behind",
        ClockJumpsBack: "the master's clock is set back",
        Dst: "dates and the window in a zone that leaves summer time",
        EqualDates: "other content under the same dates",
        EditsOnBothSides: "both sides edited a record",
        DeleteAgainstEdit: "the master deleted what was edited here",
        Undelete: "a tombstone that lives again",
        MasterIdChanged: "the master has another cluster id than yesterday",
        TwoMasters: "two masters claim one record",
        HardDelete: "a record goes without a tombstone",
        MassMarked: "most assets are marked deleted at once",
        ReplacedInPlace: "an original is replaced by one of the same size and time",
        Md5Absent: "records state no MD5",
        Md5Stale: "the record's MD5 is that of the version before",
        Md5Wrong: "the record's MD5 is nobody's",
        CropOnly: "a crop changed a rendition and no record",
        CropTableUnsynced: "crops are in a table that is not listed",
    }
}
