/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that is up at once: a boot sector that prints "guest up" on the first serial port, then sleeps until the
 * ACPI power button is pressed and switches off. SeaBIOS puts the ACPI power management registers at 0x600 on
 * pc and q35 (ACPI specification: PM1 status +0, enable +2, control +4).
 *
 *   gcc -m32 -nostdlib -ffreestanding -Wl,--oformat=binary,-Ttext=0x7c00 ... (see lib.sh)
 */
	.code16
	.globl _start
_start:
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %ss
	movw $0x7c00, %sp
	sti
	cld
	movw $message, %si
next:
	lodsb
	testb %al, %al
	jz ready
	movb %al, %ah
	movw $0x3fd, %dx /* line status */
wait:
	inb %dx, %al
	testb $0x20, %al
	jz wait
	movb %ah, %al
	movw $0x3f8, %dx
	outb %al, %dx
	jmp next
ready:
	movw $0x602, %dx
	movw $0x100, %ax /* the button sets its status bit */
	outw %ax, %dx
idle:
	hlt /* until the next timer tick */
	movw $0x600, %dx
	inw %dx, %ax
	testb $1, %ah
	jz idle
	movw $0x604, %dx
	movw $0x2000, %ax /* sleep enable, type 0: S5 as QEMU has it */
	outw %ax, %dx
	jmp idle
message:
	.asciz "guest up\r\n"
	.org 510
	.word 0xaa55
