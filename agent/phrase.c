/* Recovery phrases: see phrase.h. */
#include "phrase.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char consonants[] = "bdfghjklmnprstvz";
static const char vowels[] = "aiou";

/** The two checking bytes: BLAKE2b of the entropy. */
static void check_bytes(const unsigned char entropy[PHRASE_ENTROPY_BYTES], unsigned char check[2])
{
	unsigned char digest[crypto_generichash_BYTES];

	crypto_generichash(digest, sizeof(digest), entropy, PHRASE_ENTROPY_BYTES, NULL, 0);
	memcpy(check, digest, 2);
	sodium_memzero(digest, sizeof(digest));
}

static void write_word(uint16_t bits, char word[5])
{
	word[0] = consonants[bits >> 12 & 15];
	word[1] = vowels[bits >> 10 & 3];
	word[2] = consonants[bits >> 6 & 15];
	word[3] = vowels[bits >> 4 & 3];
	word[4] = consonants[bits & 15];
}

static int letter(const char *alphabet, char wanted)
{
	const char *at = wanted ? strchr(alphabet, wanted) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

static int read_word(const char word[5], uint16_t *bits)
{
	int parts[5] = {letter(consonants, word[0]), letter(vowels, word[1]),
			letter(consonants, word[2]), letter(vowels, word[3]),
			letter(consonants, word[4])};

	for (int i = 0; i < 5; i++)
		if (parts[i] < 0)
			return -EINVAL;
	*bits =
	    (uint16_t)(parts[0] << 12 | parts[1] << 10 | parts[2] << 6 | parts[3] << 4 | parts[4]);
	return 0;
}

void phrase_write(const unsigned char entropy[PHRASE_ENTROPY_BYTES], char text[PHRASE_TEXT_BYTES])
{
	unsigned char bytes[2 * PHRASE_WORDS];

	memcpy(bytes, entropy, PHRASE_ENTROPY_BYTES);
	check_bytes(entropy, bytes + PHRASE_ENTROPY_BYTES);
	for (int i = 0; i < PHRASE_WORDS; i++) {
		write_word((uint16_t)(bytes[2 * i] << 8 | bytes[2 * i + 1]), text + 6 * i);
		text[6 * i + 5] = i + 1 < PHRASE_WORDS ? ' ' : '\0';
	}
	sodium_memzero(bytes, sizeof(bytes));
}

void phrase_generate(char text[PHRASE_TEXT_BYTES])
{
	unsigned char entropy[PHRASE_ENTROPY_BYTES];

	randombytes_buf(entropy, sizeof(entropy));
	phrase_write(entropy, text);
	sodium_memzero(entropy, sizeof(entropy));
}

int phrase_read(const char *text, size_t text_bytes, unsigned char entropy[PHRASE_ENTROPY_BYTES],
		int *wrong_word)
{
	unsigned char bytes[2 * PHRASE_WORDS], check[2];
	char word[5];
	size_t length = 0;
	int words = 0, result = 0;

	*wrong_word = 0;
	for (size_t i = 0; i <= text_bytes && result == 0; i++) {
		unsigned char c = i < text_bytes ? (unsigned char)text[i] : ' ';
		uint16_t bits;

		if (!isspace(c) && c != '-') {
			if (length == sizeof(word) || words == PHRASE_WORDS) {
				*wrong_word = words == PHRASE_WORDS ? 0 : words + 1;
				result = -EINVAL;
			} else {
				word[length++] = (char)tolower(c);
			}
			continue;
		}
		if (length == 0)
			continue;
		if (length != sizeof(word) || read_word(word, &bits) != 0) {
			*wrong_word = words + 1;
			result = -EINVAL;
			continue;
		}
		bytes[2 * words] = (unsigned char)(bits >> 8);
		bytes[2 * words + 1] = (unsigned char)bits;
		words++;
		length = 0;
	}
	if (result == 0 && words != PHRASE_WORDS)
		result = -EINVAL;
	if (result == 0) {
		check_bytes(bytes, check);
		if (memcmp(check, bytes + PHRASE_ENTROPY_BYTES, sizeof(check)) != 0)
			result = -EBADMSG;
		else
			memcpy(entropy, bytes, PHRASE_ENTROPY_BYTES);
	}
	sodium_memzero(bytes, sizeof(bytes));
	sodium_memzero(word, sizeof(word));
	return result;
}

bool phrase_holds(const char *text, char why[PHRASE_WHY_BYTES])
{
	unsigned char entropy[PHRASE_ENTROPY_BYTES];
	int wrong = 0, result = phrase_read(text, strlen(text), entropy, &wrong);

	sodium_memzero(entropy, sizeof(entropy));
	if (result == 0)
		return true;
	if (wrong > 0)
		snprintf(why, PHRASE_WHY_BYTES, "word %d is none of a recovery phrase; they have five letters, such as 'lusab'",
			 wrong);
	else
		snprintf(why, PHRASE_WHY_BYTES, "these are not the nine words of one recovery phrase; one is mistyped or missing");
	return false;
}
