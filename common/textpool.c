/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "textpool.h"

#define PIECE_SIZE 8192 /* longer texts have a piece of their own */

struct textpool_piece {
	struct textpool_piece *next;
	size_t size, used;
	char text[];
};

const char *textpool_add(struct textpool *p, const char *text)
{
	struct textpool_piece *piece = p->pieces;
	size_t len = strlen(text) + 1;
	char *copy;

	if (!piece || piece->size - piece->used < len) {
		size_t size = len > PIECE_SIZE ? len : PIECE_SIZE;

		piece = malloc(sizeof(*piece) + size);
		if (!piece)
			return NULL;
		*piece = (struct textpool_piece){.size = size};
		/* The newest of the usual size stays in front: it has room yet. */
		if (size > PIECE_SIZE && p->pieces) {
			piece->next = p->pieces->next;
			p->pieces->next = piece;
		} else {
			piece->next = p->pieces;
			p->pieces = piece;
		}
	}
	copy = memcpy(piece->text + piece->used, text, len);
	piece->used += len;
	return copy;
}

void textpool_fini(struct textpool *p)
{
	for (struct textpool_piece *piece = p->pieces, *next; piece; piece = next) {
		next = piece->next;
		free(piece);
	}
	p->pieces = NULL;
}
