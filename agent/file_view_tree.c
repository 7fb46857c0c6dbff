/*
 * The questions of file_view.h, answered from an ext4 file system by libext2fs. Symbolic links are
 * given as they are, never followed: whoever shows them follows them in his own tree.
 */
#include "file_view_tree.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "file_view.h"
#include "stream.h"

struct tree {
	ext2_filsys files;
	char path[FILE_VIEW_PATH_MAX + 1];
	uint8_t bytes[FILE_VIEW_BYTES_MAX];
	ext2_file_t open; /* the file that was read last; NULL: none */
	ext2_ino_t open_number;
};

struct listing {
	struct tree *tree;
	struct file_view_answer *answer;
	uint64_t skip;
};

int file_view_error(errcode_t error)
{
	if (error == 0)
		return 0;
	return error == EXT2_ET_FILE_NOT_FOUND || error == EXT2_ET_NO_DIRECTORY ? -ENOENT
	       : error == EXT2_ET_NO_MEMORY					 ? -ENOMEM
										 : -EIO;
}

static int find(struct tree *tree, ext2_ino_t *number, struct ext2_inode *inode)
{
	int error = file_view_error(
	    ext2fs_namei(tree->files, EXT2_ROOT_INO, EXT2_ROOT_INO, tree->path, number));

	return error ? error : file_view_error(ext2fs_read_inode(tree->files, *number, inode));
}

static int add_name(ext2_ino_t directory, int entry, struct ext2_dir_entry *found, int offset,
		    int block_size, char *buffer, void *context)
{
	struct listing *listing = context;
	struct file_view_answer *answer = listing->answer;
	int length = ext2fs_dirent_name_len(found);
	bool is_dots = length <= 2 && memcmp(found->name, "..", (size_t)length) == 0;

	if (length < 1 || is_dots)
		return 0;
	if (listing->skip > 0) {
		listing->skip--;
		return 0;
	}
	if (answer->bytes + 1 + (uint32_t)length > FILE_VIEW_BYTES_MAX)
		return DIRENT_ABORT;
	listing->tree->bytes[answer->bytes++] = (uint8_t)length;
	memcpy(listing->tree->bytes + answer->bytes, found->name, (size_t)length);
	answer->bytes += (uint32_t)length;
	return 0;
}

/** Opens the file unless it is the one that is open. */
static int open_file(struct tree *tree, ext2_ino_t number)
{
	if (tree->open && tree->open_number == number)
		return 0;
	if (tree->open)
		ext2fs_file_close(tree->open);
	tree->open = NULL;
	tree->open_number = number;
	return file_view_error(ext2fs_file_open(tree->files, number, 0, &tree->open));
}

static int read_file(struct tree *tree, ext2_ino_t number, uint64_t offset, uint32_t count,
		     struct file_view_answer *answer)
{
	unsigned int got = 0;
	int error = count <= FILE_VIEW_BYTES_MAX ? open_file(tree, number) : -EINVAL;

	if (!error)
		error = file_view_error(ext2fs_file_llseek(tree->open, offset, EXT2_SEEK_SET, NULL));
	if (!error)
		error = file_view_error(ext2fs_file_read(tree->open, tree->bytes, count, &got));
	answer->bytes = got;
	return error;
}

static int read_link(struct tree *tree, ext2_ino_t number, struct ext2_inode *inode,
		     struct file_view_answer *answer)
{
	uint64_t size = EXT2_I_SIZE(inode);

	if (!LINUX_S_ISLNK(inode->i_mode))
		return -EINVAL;
	if (size == 0 || size >= FILE_VIEW_PATH_MAX)
		return -EIO;
	if (!ext2fs_is_fast_symlink(inode))
		return read_file(tree, number, 0, (uint32_t)size, answer);
	if (size > sizeof(inode->i_block))
		return -EIO;
	memcpy(tree->bytes, inode->i_block, size);
	answer->bytes = (uint32_t)size;
	return 0;
}

static int answer_one(struct tree *tree, const struct file_view_question *question,
		      struct file_view_answer *answer)
{
	struct listing listing = {tree, answer, question->offset};
	struct ext2_inode inode;
	ext2_ino_t number;
	int error = find(tree, &number, &inode);

	if (error)
		return error;
	switch (question->what) {
	case FILE_VIEW_STAT:
		answer->mode = inode.i_mode;
		answer->links = inode.i_links_count;
		answer->size_bytes = EXT2_I_SIZE(&inode);
		answer->changed = (int32_t)inode.i_mtime;
		return 0;
	case FILE_VIEW_LIST:
		if (!LINUX_S_ISDIR(inode.i_mode))
			return -ENOTDIR;
		return file_view_error(
		    ext2fs_dir_iterate2(tree->files, number, 0, NULL, add_name, &listing));
	case FILE_VIEW_READ:
		if (!LINUX_S_ISREG(inode.i_mode))
			return -EINVAL;
		return read_file(tree, number, question->offset, question->count, answer);
	case FILE_VIEW_LINK:
		return read_link(tree, number, &inode, answer);
	default:
		return -EINVAL;
	}
}

int file_view_tree(ext2_filsys files, int socket)
{
	struct tree *tree = calloc(1, sizeof(*tree));
	struct file_view_question question;

	if (!tree)
		return FILE_VIEW_DAMAGED;
	tree->files = files;
	while (stream_transfer(socket, &question, sizeof(question), false) == 0) {
		struct file_view_answer answer = {.error = 0};

		if (question.path_bytes > FILE_VIEW_PATH_MAX ||
		    stream_transfer(socket, tree->path, question.path_bytes, false) != 0)
			break;
		tree->path[question.path_bytes] = '\0';
		answer.error = answer_one(tree, &question, &answer);
		if (answer.error)
			answer.bytes = 0;
		if (stream_transfer(socket, &answer, sizeof(answer), true) != 0 ||
		    stream_transfer(socket, tree->bytes, answer.bytes, true) != 0)
			break;
	}
	if (tree->open)
		ext2fs_file_close(tree->open);
	free(tree);
	return FILE_VIEW_DONE;
}
