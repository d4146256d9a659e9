/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks, and RFC 3339. */
/*
 * Theory of operation
 *
 * What     Readings of CLOCK_MONOTONIC and CLOCK_REALTIME through two replaceable functions, and
 * the text form of wall time. The calendar is computed here: gmtime(3) would read the time zone
 *          files, and in a guest those are hostile.
 * Limits   int64_t nanoseconds reach from 1677 to 2262; text outside of that is refused.
 * Trust    Text is hostile: one spelling only ("T" and "Z" in upper case, no leap second, calendar
 *          dates that exist).
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define S_PER_DAY INT64_C(86400)

static uint64_t system_mono_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail for this clock */
    return (uint64_t)t.tv_sec * (uint64_t)NS_PER_S + (uint64_t)t.tv_nsec;
}

static int64_t system_wall_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t); /* cannot fail for this clock */
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static uint64_t (*mono_source)(void) = system_mono_ns;
static int64_t (*wall_source)(void) = system_wall_ns;

uint64_t adit_clock_mono_ns(void)
{
    return mono_source();
}

int64_t adit_clock_wall_ns(void)
{
    return wall_source();
}

void adit_clock_set(uint64_t (*mono_ns)(void), int64_t (*wall_ns)(void))
{
    mono_source = mono_ns ? mono_ns : system_mono_ns;
    wall_source = wall_ns ? wall_ns : system_wall_ns;
}

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
};

/*
 * Days since 1970-01-01 and the proleptic Gregorian calendar. Both count years from 1 March, so
 * that the leap day is the last of a year, and eras of 400 years, which all have 146,097 days.
 */
#define DAYS_PER_ERA INT64_C(146097)
#define DAYS_0000_03_01_TO_1970 INT64_C(719468)

static int64_t days_of(struct civil c)
{
    int64_t year = c.month > 2 ? c.year : c.year - 1;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t month = c.month > 2 ? c.month - 3 : c.month + 9;
    int64_t day_of_year = (153 * month + 2) / 5 + c.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_0000_03_01_TO_1970;
}

static struct civil civil_of(int64_t days)
{
    days += DAYS_0000_03_01_TO_1970;
    int64_t era = (days >= 0 ? days : days - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
    int64_t doe = days - era * DAYS_PER_ERA;
    int64_t year_of_era = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t day_of_year = doe - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    struct civil c = {
        .year = year_of_era + era * 400 + (month >= 10),
        .month = (unsigned)(month < 10 ? month + 3 : month - 9),
        .day = (unsigned)(day_of_year - (153 * month + 2) / 5 + 1),
    };
    return c;
}

/* @digits of the fraction are printed; the rest is cut. */
static void format(int64_t wall_ns, int digits, char out[ADIT_CLOCK_RFC3339_CAP])
{
    int64_t ns = wall_ns % NS_PER_S, seconds = wall_ns / NS_PER_S;
    if (ns < 0) {
        ns += NS_PER_S;
        seconds--;
    }
    int64_t in_day = seconds % S_PER_DAY, days = seconds / S_PER_DAY;
    if (in_day < 0) {
        in_day += S_PER_DAY;
        days--;
    }
    struct civil c = civil_of(days);
    int len = snprintf(out, ADIT_CLOCK_RFC3339_CAP, "%04d-%02u-%02uT%02d:%02d:%02d.%09d",
                       (int)c.year, c.month, c.day, (int)(in_day / 3600), (int)(in_day / 60 % 60),
                       (int)(in_day % 60), (int)ns);
    out += len - 9 + digits;
    if (digits == 0)
        out--; /* the point */
    memcpy(out, "Z", 2);
}

void adit_clock_format_rfc3339(int64_t wall_ns, char out[ADIT_CLOCK_RFC3339_CAP])
{
    int digits = wall_ns % NS_PER_S == 0 ? 0 : wall_ns % 1000000 == 0 ? 3 : wall_ns % 1000 ? 9 : 6;
    format(wall_ns, digits, out);
}

void adit_clock_format_ms(int64_t wall_ns, char out[ADIT_CLOCK_RFC3339_CAP])
{
    format(wall_ns, 3, out);
}

/* Takes exactly @digits digits off the front of @v; @max bounds the value. */
static bool take_number(struct adit_view *v, size_t digits, unsigned max, unsigned *out)
{
    unsigned n = 0;
    if (v->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (v->ptr[i] < '0' || v->ptr[i] > '9')
            return false;
        n = n * 10 + (unsigned)(v->ptr[i] - '0');
    }
    v->ptr += digits;
    v->len -= digits;
    *out = n;
    return n <= max;
}

static bool take_char(struct adit_view *v, char c)
{
    if (v->len == 0 || v->ptr[0] != c)
        return false;
    v->ptr++;
    v->len--;
    return true;
}

static bool take_date(struct adit_view *v, int64_t *days)
{
    static const unsigned month_len[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;
    if (!take_number(v, 4, 9999, &year) || !take_char(v, '-') || !take_number(v, 2, 12, &month) ||
        !take_char(v, '-') || !take_number(v, 2, 31, &day) || month == 0 || day == 0)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > month_len[month - 1] + (month == 2 && leap))
        return false;
    *days = days_of((struct civil){(int64_t)year, month, day});
    return true;
}

static bool take_time(struct adit_view *v, int64_t *seconds)
{
    unsigned h, m, s;
    if (!take_number(v, 2, 23, &h) || !take_char(v, ':') || !take_number(v, 2, 59, &m) ||
        !take_char(v, ':') || !take_number(v, 2, 59, &s))
        return false;
    *seconds = (int64_t)h * 3600 + (int64_t)m * 60 + s;
    return true;
}

static bool take_fraction(struct adit_view *v, int64_t *ns)
{
    *ns = 0;
    if (!take_char(v, '.'))
        return true;
    int64_t unit = NS_PER_S;
    unsigned digit;
    while (unit > 1 && take_number(v, 1, 9, &digit)) {
        unit /= 10;
        *ns += (int64_t)digit * unit;
    }
    return unit < NS_PER_S; /* a point wants a digit; a tenth digit is left over and refused */
}

static bool take_offset(struct adit_view *v, int64_t *seconds)
{
    unsigned h, m;
    *seconds = 0;
    if (take_char(v, 'Z'))
        return true;
    bool west = take_char(v, '-');
    if ((!west && !take_char(v, '+')) || !take_number(v, 2, 23, &h) || !take_char(v, ':') ||
        !take_number(v, 2, 59, &m))
        return false;
    *seconds = ((int64_t)h * 3600 + (int64_t)m * 60) * (west ? -1 : 1);
    return true;
}

int adit_clock_parse_rfc3339(struct adit_view v, int64_t *wall_ns)
{
    int64_t days, in_day, ns, offset, out;
    if (!take_date(&v, &days) || !take_char(&v, 'T') || !take_time(&v, &in_day) ||
        !take_fraction(&v, &ns) || !take_offset(&v, &offset) || v.len)
        return ADIT_ERR_BAD_INPUT;
    int64_t seconds = days * S_PER_DAY + in_day - offset;
    if (seconds < 0 &&
        ns) { /* towards zero, so that the lowest instant does not overflow on the way */
        seconds++;
        ns -= NS_PER_S;
    }
    if (__builtin_mul_overflow(seconds, NS_PER_S, &out) || __builtin_add_overflow(out, ns, &out))
        return ADIT_ERR_BAD_INPUT;
    *wall_ns = out;
    return 0;
}
