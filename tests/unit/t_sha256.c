/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/sha256.h"
#include "tap.h"

static void check_text(const char *text, const char *want)
{
	char got[SHA256_HEX_SIZE];

	sha256_hex(text, strlen(text), got);
	IS_STR(got, want);
}

/* FIPS 180-2 appendix B, and the empty text. */
TEST(standard_vectors)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
		{ "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
		  "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
		  "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_text(cases[i].text, cases[i].want);
}

TEST(a_million_times_a)
{
	char *text = malloc(1000000), got[SHA256_HEX_SIZE];

	OK(text);
	if (!text)
		return;
	memset(text, 'a', 1000000);
	sha256_hex(text, 1000000, got);
	IS_STR(got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(text);
}

/* Lengths around the place where the length field needs a second block; computed by coreutils' sha256sum. */
TEST(padding_boundaries)
{
	static const struct {
		size_t len;
		const char *want;
	} cases[] = {
		{ 55, "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072" },
		{ 56, "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e" },
		{ 57, "ae14a2563ccf969d99aca69ce6bb74981f734bbf9f655f73b8f06db68cab5217" },
		{ 63, "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2" },
		{ 64, "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c" },
		{ 65, "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9" },
		{ 119, "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c" },
		{ 120, "13f05a0b594787f5ecd315edc96141bd3243203d1b7d4f0836f37308b276ba98" },
		{ 127, "70156a14adbabf98cff3a71c7084b417abf057a8efd27329ca36b7202c87d81f" },
		{ 128, "24da1b81d0b16df6428eee73c69fcb2a93c76bc6df706f0c6670fe6bfe800464" },
	};
	char text[130], got[SHA256_HEX_SIZE];

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		sha256_hex(text, cases[i].len, got);
		IS_STR(got, cases[i].want);
	}
}

/* The name of the capability cache file of this emulator, as virFileCacheGetFileName() makes it. */
TEST(an_emulator_path)
{
	check_text("/usr/bin/qemu-system-x86_64", "926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725");
}

TAP_MAIN
