// Assembling: rows of blocks, as kernels' packing takes them, from a weight's parts in a read block. Lossless: codes are
// moved, scales keep their bits or become floats. Sources of the layouts: OCP Microscaling 1.0 as gpt-oss stores it;
// compressed-tensors' pack_to_int32; AutoGPTQ's and AutoAWQ's GEMM tensors. Re-entrant.
#pragma once

#include <cstdint>

#include "proto/model.pb.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {

// Writes columns [col_begin, col_end) of rows [row_begin, row_end) of item's weight, which the item holds, as rows of
// blocks of the files' type (FileInfo), RowBytes(type, col_end - col_begin) apart. col_begin is a multiple of its block_cols. block: the bytes of
// the read block that has the item. Returns what is wrong with the data, or nullptr.
const char* AssembleRows(const proto::Weight& weight, const ReadItem& item, const uint8_t* block,
                         uint32_t row_begin, uint32_t row_end, uint32_t col_begin, uint32_t col_end,
                         uint8_t* out);

}  // namespace onecopy::shard
