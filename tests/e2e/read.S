/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that reads its disk as fast as it can: a boot sector that prints "guest up" on the first serial port, then reads
 * pieces of 32 KiB one after the other (int 13h, function 42h), over and over the first 32 MiB.
 */
	.code16
	.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	cld
	movw $message, %si
next:
	lodsb
	testb %al, %al
	jz read
	movw $0x3f8, %dx
	outb %al, %dx
	jmp next
read:
	movw $packet, %si
	movb $0x42, %ah
	movb $0x80, %dl
	int $0x13
	addl $64, sector
	andl $0xffff, sector
	jmp read
message:
	.asciz "guest up\r\n"
	.balign 4
packet:
	.byte 16, 0
	.word 64          /* sectors */
	.word 0, 0x1000   /* to 1000:0000 */
sector:
	.long 0, 0
	.org 510
	.word 0xaa55
