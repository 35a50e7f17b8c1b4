//! `x W^T`, the product behind every projection, in the form that each device runs best.

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

/// Weights from which the form matters, in numbers; smaller ones stay in the cache.
const LARGE: usize = 1 << 18;

/// Rows up to which reading the weights takes longer than arithmetic.
const FEW: usize = 16;

/// Largest output of a product that gemm 0.19 computes without rearranging its inputs first.
const UNPACKED: usize = 256;

/// # Shapes
/// - x: `[batch, seq, in]`; weight: `[out, in]`, as checkpoints store it; returns `[batch, seq, out]`
pub(crate) fn product(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let ([batch, seq, input], [output, _]) = (x.dims(), weight.dims());
    let rows = batch * seq;
    let x = x.reshape([rows, input]);
    let device = weight.device();
    // With gradients the plain form is the best: its backward pass has the weight on the right, not transposed.
    let y = if input * output < LARGE || !matches!(device.as_dispatch(), DispatchDevice::Flex(_)) {
        // As one product of matrices: a batched one would copy the transposed weight on the CPU.
        x.matmul(weight.transpose())
    } else if rows <= FEW
        && let Some(width) = task_width(rows, output)
    {
        of_few_rows(x, weight, width)
    } else {
        // On the left the weight lies as gemm wants it; on the right, transposed, rearranging it takes up to half the time.
        weight.matmul(x.transpose()).transpose()
    };
    y.reshape([batch, seq, output])
}

/// The same for a few rows on the CPU: a batch of small products, each with the weights of a few outputs, in the order
/// in which they lie in memory.
///
/// burn-flex runs a product with one row on one core, and for two or more it first rearranges the whole weight, which
/// is most of the work then. Products of a batch are shared between the cores and are small enough not to be
/// rearranged: several times faster for a large weight (benches/product.rs).
fn of_few_rows(x: Tensor<2>, weight: Tensor<2>, width: usize) -> Tensor<2> {
    let ([rows, input], [output, _]) = (x.dims(), weight.dims());
    let weight = weight.reshape([output / width, width, input]).swap_dims(1, 2);
    let y = x.reshape([1, rows, input]).matmul(weight);
    let y = if rows == 1 { y } else { y.swap_dims(0, 1) };
    y.reshape([rows, output])
}

/// Outputs per small product: a power of two that divides the outputs.
fn task_width(rows: usize, output: usize) -> Option<usize> {
    let width = 1usize << (UNPACKED / rows).min(64).ilog2().min(output.trailing_zeros());
    (width >= 16 && width < output).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn every_form_is_the_same_product() {
        let device = Device::flex();
        device.seed(2);
        // Large enough for all of them, and one whose outputs are odd.
        for output in [1088, 1031] {
            let weight = Tensor::<2>::random([output, 256], Distribution::Default, &device);
            for rows in [1, 2, 3, 5, 16, 17, 40, 1500] {
                let x = Tensor::<3>::random([1, rows, 256], Distribution::Default, &device);
                let expected = x.clone().reshape([rows, 256]).matmul(weight.clone().transpose()).unsqueeze::<3>();
                let difference: f32 = (product(x, weight.clone()) - expected).abs().max().into_scalar();
                assert!(difference < 1e-3, "{rows} rows, {output} outputs: {difference}");
            }
        }
    }

    #[test]
    fn tasks_divide_the_outputs() {
        assert_eq!(task_width(1, 151_936), Some(64));
        assert_eq!(task_width(8, 3072), Some(32));
        assert_eq!(task_width(16, 3072), Some(16));
        assert_eq!(task_width(1, 1031), None);
    }
}
