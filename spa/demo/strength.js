/**
 * How many guesses a password takes, in the manner of zxcvbn: the cheapest way to put it together of
 * common words, names, repetitions, sequences, rows of the keyboard, years and mere characters.
 *
 * It runs in the page, so that nothing is sent while somebody types. The issuer judges by zxcvbn
 * itself when the password is set, and knows more words.
 */

/** As many characters as the issuer looks at. */
const SEEN = 40;
/** log10 of the guesses below which the issuer refuses, and of those for the further steps. */
const STEPS = [6.01, 9, 12];
/** The lists take turns in the order of the common words, so a place there is several ranks. */
const LISTS = 6;
const LONGEST_WORD = 24;
const ROWS = ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik"];
/** @type {Record<string, string>} */
const LEET = { 4: "a", "@": "a", 8: "b", "(": "c", 3: "e", 6: "g", 9: "g", 1: "i", "!": "i", 0: "o", $: "s", 5: "s", "+": "t", 7: "t", "%": "x", 2: "z" };
const OTHER_LEET = { ...LEET, 1: "l", 7: "l" };
const MANY = 10_000;

/**
 * @typedef {"short" | "long" | "blocked" | "guessable" | "fair" | "good" | "strong"} Verdict
 * @typedef {{ min_length: number, max_length: number, blocked: string[], common_words: string[] }} Rules
 */

/** @param {Rules} rules */
export function createJudge({ min_length: least, max_length: most, blocked, common_words: common }) {
  const refused = new Set(blocked);
  const ranks = new Map(common.map((word, place) => [word, Math.floor(place / LISTS) + 1]));

  /**
   * @param {string} typed
   * @param {readonly string[]} [names] what the person is called
   * @returns {{ verdict: Verdict, score: 0 | 1 | 2 | 3 | 4, missing: number }} missing: characters
   */
  return function judge(typed, names = []) {
    const length = [...typed].length; // as the issuer counts them
    if (length < least) return { verdict: "short", score: 0, missing: least - length };
    if (length > most) return { verdict: "long", score: 0, missing: 0 };
    const password = typed.normalize("NFKC");
    if (refused.has(password.toLowerCase())) return { verdict: "blocked", score: 1, missing: 0 };
    const known = new Map([...ranks, ...names.map((name) => /** @type {const} */ ([name.toLowerCase(), 1]))]);
    const effort = guesses(password.slice(0, SEEN), known);
    const [weak = 0, fair = 0, good = 0] = STEPS;
    if (effort < weak) return { verdict: "guessable", score: 1, missing: 0 };
    if (effort < fair) return { verdict: "fair", score: 2, missing: 0 };
    return effort < good
      ? { verdict: "good", score: 3, missing: 0 }
      : { verdict: "strong", score: 4, missing: 0 };
  };
}

/**
 * log10 of the guesses for the whole: over every way to cut it into `count` pieces, the product of the
 * pieces' guesses times the orders in which they can stand, plus those of all shorter ways.
 *
 * @param {string} password
 * @param {ReadonlyMap<string, number>} ranks
 */
function guesses(password, ranks) {
  const size = password.length;
  /** @type {number[][]} the least product for the first `end` characters in `count` pieces */
  const least = Array.from({ length: size + 1 }, () => []);
  /** @type {number[]} */ (least[0])[0] = 1;
  for (let end = 1; end <= size; end += 1) {
    for (let begin = 0; begin < end; begin += 1) {
      const cost = piece(password.slice(begin, end), ranks);
      least[begin]?.forEach((before, count) => {
        const row = /** @type {number[]} */ (least[end]);
        row[count + 1] = Math.min(row[count + 1] ?? Infinity, before * cost);
      });
    }
  }
  let orders = 1;
  let best = Infinity;
  least[size]?.forEach((product, count) => {
    orders *= Math.max(count, 1);
    best = Math.min(best, orders * product + MANY ** (count - 1));
  });
  return Math.log10(best);
}

/**
 * The guesses for one piece.
 *
 * @param {string} text
 * @param {ReadonlyMap<string, number>} ranks
 * @returns {number}
 */
function piece(text, ranks) {
  const size = text.length;
  const options = [Math.max(10 ** size, size === 1 ? 11 : 51), repeated(text, ranks)];
  if (size >= 3 && size <= LONGEST_WORD) options.push(word(text, ranks));
  if (size >= 3) options.push(sequence(text), keyboard(text));
  if (/^(19|20)\d\d$/.test(text)) options.push(120);
  if (/^\d{6}(\d\d)?$/.test(text)) options.push(18_000);
  return Math.min(...options);
}

/**
 * @param {string} text
 * @param {ReadonlyMap<string, number>} ranks
 */
function word(text, ranks) {
  const small = text.toLowerCase();
  const factor = small === text ? 1 : 2;
  const backwards = [...small].reverse().join("");
  const read = (/** @type {Record<string, string>} */ signs) => [...small].map((c) => signs[c] ?? c).join("");
  return Math.min(
    factor * (ranks.get(small) ?? Infinity),
    2 * factor * (ranks.get(backwards) ?? Infinity),
    2 * factor * (ranks.get(read(LEET)) ?? ranks.get(read(OTHER_LEET)) ?? Infinity),
  );
}

/**
 * @param {string} text
 * @param {ReadonlyMap<string, number>} ranks
 */
function repeated(text, ranks) {
  const size = text.length;
  for (let unit = 1; unit <= size / 2; unit += 1) {
    if (size % unit) continue;
    const part = text.slice(0, unit);
    if (part.repeat(size / unit) !== text) continue;
    return (unit === 1 ? 12 : 10 ** guesses(part, ranks)) * (size / unit);
  }
  return Infinity;
}

/** @param {string} text letters or digits with one step between them, such as abc or 9753 */
function sequence(text) {
  const codes = [...text].map((character) => character.charCodeAt(0));
  const step = (codes[1] ?? 0) - (codes[0] ?? 0);
  const even = codes.every((code, at) => at === 0 || code - (codes[at - 1] ?? 0) === step);
  if (!even || step === 0 || Math.abs(step) > 5) return Infinity;
  return (/^\d/.test(text) ? 10 : 26) * text.length * (step < 0 ? 2 : 1);
}

/** @param {string} text */
function keyboard(text) {
  const small = text.toLowerCase();
  const backwards = [...small].reverse().join("");
  return ROWS.some((row) => row.includes(small) || row.includes(backwards))
    ? 40 * text.length
    : Infinity;
}
